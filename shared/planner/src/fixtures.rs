//! For tests: manifests of jobs that succeed at once, with results that look like real ones and
//! depend on the job alone.

use crate::Observed;
use cedm_catalogue::metrics::metric;
use cedm_contract::{
    Attempt, Digest, Job, JobKey, JobResult, JobSpec, Manifest, ObjectRef, Output, OutputName,
    ShardRef, Software, Timings,
    kinds::{
        adapt::AdaptResult,
        bound::{BoundDecision, BoundParams, BoundResult, Probe},
        cluster::{self, ClusterMethod, ClusterParams, ClusterResult},
        extract::ExtractResult,
        feature_evaluation::FeatureEvaluationResult,
        features::FeatureSet,
        fit::FitResult,
        import::{ImageSet, ImportParams},
        measure::MeasureResult,
        neighbours::NeighboursResult,
        reference::ReferenceResult,
        report::ReportResult,
        sample::SampleResult,
        sample_set::SampleSetResult,
        score::{Score, ScoreParams, ScoreResult},
        train::{self, TrainResult},
    },
};
use cedm_sweep::{Sweep, SweepSpec};
use std::collections::BTreeMap;

pub(crate) const SUBMITTED_MS: u64 = 1_000_000;

/// Images of the made-up set.
pub(crate) const IMAGES: u64 = 1_797;

/// Clusters that the made-up images fill at most.
pub(crate) const FILLED: u32 = 43;

pub(crate) const TOML: &str = r#"
[images]
set = "digits"
[extractor]
name = "pca"
dim = 32
[[clustering]]
method = "temi"
clusters = "bound"
[[clustering]]
method = "kmeans"
clusters = [10, 20]
[[clustering]]
method = "ground_truth"
[[clustering]]
method = "none"
[bound]
start = 5
fine_step = 8
candidates = 3
candidate_rule = "probes"
[training]
preset = "tiny8"
budget_kimg = 2
snapshots = 2
[sampling]
sets = 2
images = 300
snapshot_images = 100
shard_size = 128
[evaluation]
extractor = { name = "pca", dim = 16 }
metrics = ["fd", "ufd", "precision"]
"#;

/// A sweep on the made-up images, and a state in which these are imported.
pub(crate) fn sweep(id: &str, toml: &str) -> (Sweep, Observed) {
    sweep_on(image_set(), id, toml)
}

/// The made-up images in so many shards.
pub(crate) fn image_set_of(count: u64) -> ImageSet {
    ImageSet {
        count,
        shards: shards(count, 1, "images"),
        ..image_set()
    }
}

/// A sweep on these images, and a state in which they are imported.
pub(crate) fn sweep_on(images: ImageSet, id: &str, toml: &str) -> (Sweep, Observed) {
    let spec = SweepSpec::parse(toml).unwrap_or_else(|error| panic!("{error}"));
    let import = manifest_of(&import(), JobResult::Import(images), 1);
    let mut observed = Observed::default();
    let key = import.key.clone();
    observed.record(import);
    (
        Sweep::new(
            id.parse().unwrap(),
            spec,
            key,
            None,
            SUBMITTED_MS,
            toml.to_owned(),
        ),
        observed,
    )
}

fn import() -> Job {
    let params = ImportParams {
        content: Digest::of(b"pixels"),
        labels: Digest::of(b"labels"),
        shard_size: 1_000,
    };
    Job::new(
        JobSpec::Import(params),
        Vec::new(),
        Default::default(),
        Default::default(),
    )
}

/// The import of a test split: other images of the same shape.
pub(crate) fn second_import() -> Manifest {
    let params = ImportParams {
        content: Digest::of(b"other pixels"),
        labels: Digest::of(b"labels"),
        shard_size: 1_000,
    };
    let job = Job::new(
        JobSpec::Import(params),
        Vec::new(),
        Default::default(),
        Default::default(),
    );
    let set = ImageSet {
        count: 400,
        content: Digest::of(b"other pixels"),
        shards: shards(400, 1_000, "test"),
        ..image_set()
    };
    manifest_of(&job, JobResult::Import(set), 1)
}

fn image_set() -> ImageSet {
    ImageSet {
        count: IMAGES,
        channels: 1,
        resolution: 8,
        classes: 10,
        coarse_classes: 0,
        class_names: Vec::new(),
        content: Digest::of(b"pixels"),
        shards: shards(IMAGES, 1_000, "images"),
    }
}

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        object: format!("object/{name}"),
        size: name.len() as u64,
        digest: Digest::of(name.as_bytes()),
    }
}

fn shards(count: u64, size: u64, name: &str) -> Vec<ShardRef> {
    let shard = |first: u64| ShardRef {
        object: object(&format!("{name}-{first}")),
        first,
        count: size.min(count - first),
    };
    (0..count).step_by(size as usize).map(shard).collect()
}

/// The manifest that the right service would write.
pub(crate) fn perform(job: &Job, observed: &Observed) -> Manifest {
    manifest_of(job, result_of(job, observed), SUBMITTED_MS + 500)
}

fn manifest_of(job: &Job, result: JobResult, finished_ms: u64) -> Manifest {
    let output = |name: OutputName| Output::new(name, object(&format!("{}/{name}", job.key)));
    let outputs = [cluster::ASSIGNMENTS, train::EMA, train::CURVE].map(output);
    let outputs = Vec::from(outputs);
    Manifest {
        schema: 1,
        key: job.key.clone(),
        attempt: Attempt {
            sequence: 1,
            delivery: 1,
            ulid: ulid_of(&job.key),
        },
        spec: job.spec.clone(),
        inputs: job.inputs.clone(),
        digest: Manifest::digest_of(&outputs, &result),
        outputs,
        result,
        metrics: BTreeMap::new(),
        timings: Timings {
            queued_ms: finished_ms - 1,
            started_ms: finished_ms,
            finished_ms,
            compute_ms: 7,
        },
        software: Software::default(),
    }
}

fn ulid_of(_: &JobKey) -> ulid::Ulid {
    ulid::Ulid::from_parts(1, 1)
}

/// A number in \[0, 1) that the key alone decides.
fn draw(key: &JobKey) -> f64 {
    f64::from(u32::from_str_radix(&key.as_str()[..6], 16).unwrap()) / f64::from(1 << 24)
}

fn clustered(clusters: u32, used: u32) -> ClusterResult {
    ClusterResult {
        count: IMAGES,
        clusters,
        used,
        utilisation: f64::from(used) / f64::from(clusters),
        marginal_entropy: f64::from(used).ln(),
        kl_uniform: 0.0,
        smallest: 1,
        largest: 90,
        mean_confidence: None,
        neighbour_agreement: None,
        inertia: None,
        best_head: None,
        quality: None,
    }
}

/// Doubling alone: enough of a search for the planner.
fn bound_step(job: &Job, observed: &Observed, start: u32, alpha: f64, cap: u32) -> BoundResult {
    let inputs = job.inputs_of::<BoundParams>().unwrap();
    let mut probes: Vec<Probe> = inputs
        .probes
        .values()
        .map(|input| {
            let manifest = crate::ObservedState::manifest(observed, &input.key).unwrap();
            let (_, result) = manifest.as_kind::<ClusterParams>().unwrap();
            Probe {
                clusters: result.clusters,
                used: vec![result.used],
                utilisation: result.utilisation,
                utilisation_std: None,
                passes: result.utilisation > alpha,
            }
        })
        .collect();
    probes.sort_by_key(|probe| probe.clusters);
    let c_max = probes
        .iter()
        .filter(|probe| probe.passes)
        .map(|probe| probe.clusters)
        .max();
    let decision = match probes.last() {
        None => BoundDecision::Probe {
            clusters: vec![start],
        },
        Some(last) if last.passes && last.clusters * 2 <= cap => BoundDecision::Probe {
            clusters: vec![last.clusters * 2],
        },
        Some(_) => BoundDecision::Found {
            c_max,
            reason: "doubling ended".to_owned(),
        },
    };
    BoundResult { probes, decision }
}

fn result_of(job: &Job, observed: &Observed) -> JobResult {
    match &job.spec {
        JobSpec::Import(_) => JobResult::Import(image_set()),
        JobSpec::Adapt(_) => JobResult::Adapt(AdaptResult {
            steps: 10,
            dim: 32,
            loss: 2.0,
            spread: 0.1,
        }),
        JobSpec::FeatureEvaluation(_) => JobResult::FeatureEvaluation(FeatureEvaluationResult {
            count: IMAGES,
            dim: 32,
            classes: 10,
            knn_accuracy: 0.9,
            probe_accuracy: 0.8,
        }),
        JobSpec::Fit(_) => JobResult::Fit(FitResult { dim: 32 }),
        JobSpec::Extract(params) => JobResult::Extract(ExtractResult {
            count: u64::from(params.shard) + 1,
            dim: 32,
        }),
        JobSpec::Features(_) => JobResult::Features(FeatureSet {
            count: IMAGES,
            dim: 32,
            shards: shards(IMAGES, 1_000, "features"),
        }),
        JobSpec::Neighbours(params) => JobResult::Neighbours(NeighboursResult {
            count: IMAGES,
            k: params.k,
        }),
        JobSpec::Cluster(params) => {
            let used = match params.method {
                ClusterMethod::Temi(_) => params.clusters.min(FILLED),
                _ => params.clusters,
            };
            JobResult::Cluster(clustered(params.clusters, used))
        }
        JobSpec::Bound(params) => JobResult::Bound(bound_step(
            job,
            observed,
            params.start,
            params.alpha,
            params.cap,
        )),
        JobSpec::Train(params) => JobResult::Train(TrainResult {
            nimg: params.to_nimg,
            steps: params.to_nimg / u64::from(params.optimiser.batch),
            label_dim: params.network.label_dim,
            parameters: 60_000,
            loss: Some(draw(&job.key)),
        }),
        JobSpec::Sample(params) => JobResult::Sample(SampleResult {
            count: u64::from(params.count),
            first_seed: params.first_seed,
            channels: 1,
            resolution: 8,
        }),
        JobSpec::SampleSet(params) => JobResult::SampleSet(SampleSetResult {
            count: params.count,
            channels: 1,
            resolution: 8,
            first_seed: params.first_seed,
            shards: shards(params.count, 128, job.key.short()),
        }),
        JobSpec::Measure(_) => JobResult::Measure(MeasureResult {
            count: 128,
            dim: 16,
        }),
        JobSpec::Reference(_) => JobResult::Reference(ReferenceResult {
            count: IMAGES,
            dim: 16,
            shards: Vec::new(),
            moments: Vec::new(),
        }),
        JobSpec::Score(params) => {
            let score = |name: &String| {
                let known_metric = metric(name).is_some();
                (
                    name.clone(),
                    Score {
                        value: known_metric.then(|| 1.0 + draw(&job.key)),
                        std: None,
                        missing: None,
                    },
                )
            };
            let inputs = job.inputs_of::<ScoreParams>().unwrap();
            let count = inputs.shards.len() as u64 * 100;
            JobResult::Score(ScoreResult {
                count,
                reference_count: IMAGES,
                scores: params.metrics.iter().map(score).collect(),
            })
        }
        JobSpec::Report(_) => JobResult::Report(ReportResult {
            headline: "done".to_owned(),
        }),
    }
}

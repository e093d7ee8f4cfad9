//! Messages and records keep their bytes: what an earlier build wrote, this one reads, and writes
//! the same.
//!
//! `CEDM_BLESS=1 cargo test -p cedm-contract --test messages` writes the golden files anew, for a
//! deliberate change of format.

#![forbid(unsafe_code)]

#[path = "messages/properties.rs"]
mod properties;

use cedm_contract::{
    ContractError, DeadLetter, Digest, Event, EventAttempt, EventWhat, ExtractorSpec, FailureKind,
    Hints, Input, Job, JobKey, JobResult, JobSpec, Kind, Manifest, ObjectRef, Output, OutputName,
    Precision, Priority, SCHEMA_VERSION, Software, Timings,
    kinds::{
        adapt::{AdaptParams, DinoParams},
        cluster::{ClusterMethod, ClusterParams, TemiParams},
        feature_evaluation::FeatureEvaluationParams,
        neighbours::{NeighbourPart, NeighboursParams},
        sample::{SampleParams, SamplerParams},
        train::{
            self, AugmentParams, Embedding, NetworkSpec, OptimiserParams, TrainParams, TrainResult,
        },
    },
};

use std::{collections::BTreeMap, path::PathBuf};

fn golden(name: &str, found: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("CEDM_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected =
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        expected == found,
        "{name} is written differently now:\n{}\nbefore:\n{}",
        show(found),
        show(&expected)
    );
}

fn stored(name: &str) -> Vec<u8> {
    std::fs::read(
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name),
    )
    .unwrap()
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn key(text: &str) -> JobKey {
    JobKey::of(text.as_bytes())
}

fn input(role: &str) -> Input {
    Input {
        role: role.to_owned(),
        key: key(role),
        digest: Digest::of(role.as_bytes()),
    }
}

fn train() -> Job {
    let network = NetworkSpec {
        resolution: 8,
        channels: 3,
        label_dim: 0,
        augment_dim: 0,
        model_channels: 32,
        channel_mult: vec![1, 1],
        channel_mult_emb: 4,
        channel_mult_noise: None,
        num_blocks: 2,
        attn_resolutions: vec![4],
        dropout: 0.0,
        label_dropout: 0.0,
        embedding: Embedding::Ddpmpp,
        sigma_data: 0.5,
    };
    let optimiser = OptimiserParams {
        batch: 32,
        micro_batch: 32,
        lr: 3e-3,
        lr_rampup_kimg: 2.0,
        betas: (0.9, 0.999),
        eps: 1e-8,
        ema_halflife_kimg: 2.0,
        ema_rampup_ratio: Some(0.1),
        p_mean: -1.2,
        p_std: 1.2,
        loss_scaling: 1.0,
    };
    let augment = AugmentParams {
        p: 0.0,
        xflip: 0.0,
        yflip: 0.0,
        scale: 0.0,
        rotate_frac: 0.0,
        aniso: 0.0,
        translate_frac: 0.0,
    };
    let spec = JobSpec::Train(TrainParams {
        network,
        optimiser,
        augment,
        precision: Precision::Fp32,
        seed: 7,
        from_nimg: 0,
        to_nimg: 14_528,
    });
    let hints = Hints {
        checkpoint_every_s: Some(30),
        sweep: Some("digits".parse().unwrap()),
        label: "train temi C=20 to 14.528 kimg".to_owned(),
    };
    Job::new(
        spec,
        vec![input("images"), input("condition")],
        Priority::P0,
        hints,
    )
}

fn jobs() -> Vec<(&'static str, Job)> {
    let plain = |spec, inputs| Job::new(spec, inputs, Priority::P1, Hints::default());
    let temi = ClusterParams {
        method: ClusterMethod::Temi(TemiParams::default()),
        clusters: 20,
        seed: 0,
    };
    let sample = SampleParams {
        sampler: SamplerParams::default(),
        first_seed: 50_000,
        count: 2_500,
    };
    let vit = ExtractorSpec {
        name: "vit".to_owned(),
        weights: None,
        dim: None,
        precision: Precision::Fp32,
    };
    let adapt = AdaptParams {
        extractor: vit,
        training: DinoParams::default(),
    };
    vec![
        (
            "job_adapt.msgpack",
            plain(JobSpec::Adapt(adapt), vec![input("images")]),
        ),
        (
            "job_judge.msgpack",
            plain(
                JobSpec::FeatureEvaluation(FeatureEvaluationParams::default()),
                vec![input("features"), input("images")],
            ),
        ),
        ("job_train.msgpack", train()),
        (
            "job_cluster.msgpack",
            plain(
                JobSpec::Cluster(temi),
                vec![input("features"), input("neighbours")],
            ),
        ),
        (
            "job_neighbours.msgpack",
            plain(
                JobSpec::Neighbours(NeighboursParams { k: 50, part: None }),
                vec![input("features")],
            ),
        ),
        ("job_neighbours_part.msgpack", {
            let part = Some(NeighbourPart { index: 1, of: 3 });
            plain(
                JobSpec::Neighbours(NeighboursParams { k: 50, part }),
                vec![input("features")],
            )
        }),
        (
            "job_sample.msgpack",
            plain(
                JobSpec::Sample(sample),
                vec![input("weights"), input("condition")],
            ),
        ),
    ]
}

fn manifest() -> Manifest {
    let job = train();
    let output = |name: OutputName| {
        let object = ObjectRef {
            object: format!("object/{}/x/{name}", job.key),
            size: 1_234,
            digest: Digest::of(name.as_str().as_bytes()),
        };
        Output::new(name, object)
    };
    let outputs = vec![
        output(train::EMA),
        output(train::STATE),
        output(train::CURVE),
    ];
    let result = JobResult::Train(TrainResult {
        nimg: 14_528,
        steps: 227,
        label_dim: 20,
        parameters: 1_600_000,
        loss: Some(0.25),
    });
    Manifest {
        schema: 1,
        key: job.key,
        attempt: "41-2-01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
        spec: job.spec,
        inputs: job.inputs,
        digest: Manifest::digest_of(&outputs, &result),
        outputs,
        result,
        metrics: BTreeMap::from([("images_per_second".to_owned(), 290.5)]),
        timings: Timings {
            queued_ms: 1,
            started_ms: 2,
            finished_ms: 3,
            compute_ms: 1,
        },
        software: Software {
            version: "0.1.0".to_owned(),
            revision: "abc".to_owned(),
            worker: "trainer-1".to_owned(),
            device: "cpu".to_owned(),
            deterministic: false,
        },
    }
}

#[test]
fn jobs_keep_their_bytes_and_keys() {
    let mut keys = String::new();
    for (name, job) in jobs() {
        golden(name, &job.encode().unwrap());
        assert_eq!(Job::decode(&stored(name)).unwrap(), job, "{name}");
        keys += &format!("{name} {}\n", job.key);
    }
    // A changed key throws away every stored result of its kind: raise the algorithm version and
    // bless on purpose only.
    golden("keys.txt", keys.as_bytes());
}

/// Token and version are hashed into every key; the service decides who consumes the jobs.
#[test]
fn kinds_keep_their_token_service_and_version() {
    let lines: Vec<String> = Kind::ALL
        .iter()
        .map(|kind| {
            let how = if kind.is_queued() {
                "queued"
            } else {
                "committed"
            };
            let version = kind.algorithm_version();
            format!("{kind} {version} {how} {}", kind.service())
        })
        .collect();
    assert_eq!(
        lines,
        [
            "import 1 committed cli",
            "adapt 1 queued extractor",
            "fit 1 queued extractor",
            "extract 2 queued extractor",
            "features 1 queued extractor",
            "judge 1 queued extractor",
            "neighbours 1 queued clusterer",
            "cluster 3 queued clusterer",
            "bound 1 queued bounds",
            "train 2 queued trainer",
            "sample 2 queued sampler",
            "sample_set 1 queued sampler",
            "measure 2 queued evaluator",
            "reference 1 queued evaluator",
            "score 2 queued evaluator",
            "report 1 committed coordinator",
        ]
    );
    for kind in Kind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.token());
        assert_eq!(kind.token().parse::<Kind>().unwrap(), *kind);
    }
}

#[test]
fn manifests_keep_their_bytes() {
    golden("manifest_train.json", &manifest().encode());
    assert_eq!(
        Manifest::decode(&stored("manifest_train.json")).unwrap(),
        manifest()
    );
}

#[test]
fn events_and_letters_keep_their_bytes() {
    let event = Event {
        schema: 1,
        key: train().key,
        kind: Kind::Train,
        what: EventWhat::Progress,
        attempt: Some("41-2-01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()),
        worker: "trainer-1".to_owned(),
        at_ms: 5,
        cached: false,
        done: 3,
        total: 14,
        unit: "kimg".to_owned(),
        message: String::new(),
    };
    golden("event.msgpack", &rmp_serde::to_vec_named(&event).unwrap());
    assert_eq!(
        rmp_serde::from_slice::<Event>(&stored("event.msgpack")).unwrap(),
        event
    );
    // Progress names the delivery alone, a cache hit no attempt at all.
    for (attempt, text) in [(Some(EventAttempt::of_delivery(41, 2)), "41-2"), (None, "")] {
        let event = Event {
            attempt,
            ..event.clone()
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["attempt"], text);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
    let letter: DeadLetter = rmp_serde::from_slice(&stored_letter()).unwrap();
    assert_eq!(
        (letter.kind, letter.failure, letter.job),
        (Kind::Train, FailureKind::Reject, Some(train()))
    );
}

/// A letter as the first build wrote it, before later fields were added: it must stay readable.
fn stored_letter() -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct First {
        schema: u32,
        job: Option<Job>,
        kind: Kind,
        key: JobKey,
        failure: FailureKind,
        error: String,
        attempts: u64,
        at_ms: u64,
        worker: String,
    }
    let job = train();
    let first = First {
        schema: 1,
        kind: job.kind(),
        key: job.key.clone(),
        job: Some(job),
        failure: FailureKind::Reject,
        error: "labels and images differ in number".to_owned(),
        attempts: 5,
        at_ms: 9,
        worker: "trainer-1".to_owned(),
    };
    golden(
        "dead_letter.msgpack",
        &rmp_serde::to_vec_named(&first).unwrap(),
    );
    stored("dead_letter.msgpack")
}

#[test]
fn newer_messages_are_refused_by_name() {
    let newer = |bytes: &[u8]| {
        show(bytes)
            .replacen("\"schema\": 1", "\"schema\": 2", 1)
            .into_bytes()
    };
    assert!(matches!(
        Manifest::decode(&newer(&manifest().encode())),
        Err(ContractError::NewerSchema {
            what: "manifest",
            found: 2,
            ..
        })
    ));
    let mut job = train();
    job.schema = 2;
    assert!(matches!(
        Job::decode(&job.encode().unwrap()),
        Err(ContractError::NewerSchema {
            what: "job",
            found: 2,
            ..
        })
    ));
}

#[test]
fn a_job_for_another_version_of_its_algorithm_is_told_from_garbage() {
    let mut job = train();
    let version = job.kind().algorithm_version() + 1;
    let roles: Vec<(&str, &str)> = job
        .inputs
        .iter()
        .map(|input| (input.role.as_str(), input.digest.as_str()))
        .collect();
    let hashed = (
        SCHEMA_VERSION,
        job.kind().token(),
        version,
        &job.spec,
        roles,
    );
    job.key = JobKey::of(&rmp_serde::to_vec_named(&hashed).unwrap());
    assert!(matches!(
        Job::decode(&job.encode().unwrap()),
        Err(ContractError::OtherVersion { kind: Kind::Train, found, supported })
            if found == version && supported + 1 == version
    ));
}

#[test]
fn a_job_that_was_tampered_with_is_refused() {
    let mut job = train();
    if let JobSpec::Train(params) = &mut job.spec {
        params.seed += 1;
    }
    let error = Job::decode(&job.encode().unwrap()).unwrap_err().to_string();
    assert!(
        error.contains("its key is") && error.contains(job.key.as_str()),
        "{error}"
    );
    let mut changed = manifest();
    changed.result = JobResult::Train(TrainResult {
        nimg: 1,
        steps: 1,
        label_dim: 20,
        parameters: 1,
        loss: None,
    });
    assert!(
        Manifest::decode(&changed.encode())
            .unwrap_err()
            .to_string()
            .contains("its digest is")
    );
}

#[test]
fn a_job_above_the_limit_says_what_to_do() {
    let inputs = (0..600).map(|i| input(&format!("shard/{i:05}"))).collect();
    let error = Job::new(train().spec, inputs, Priority::P1, Hints::default())
        .encode()
        .unwrap_err()
        .to_string();
    assert!(error.contains("use larger shards"), "{error}");
    assert!(matches!(
        Job::decode(&vec![0; 70_000]),
        Err(ContractError::TooLarge { .. })
    ));
}

#[test]
fn digests_ignore_places_and_volatile_outputs() {
    let mut other = manifest();
    other.outputs[0].object.object = "object/elsewhere".to_owned();
    other.outputs[2].object.digest = Digest::of(b"another curve");
    other.outputs.swap(0, 1);
    assert_eq!(
        Manifest::digest_of(&other.outputs, &other.result),
        manifest().digest
    );
    other.outputs[0].object.digest = Digest::of(b"other weights");
    assert_ne!(
        Manifest::digest_of(&other.outputs, &other.result),
        manifest().digest
    );
}

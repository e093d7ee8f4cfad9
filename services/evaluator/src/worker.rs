//! The recipes of the three kinds of job: measure a shard, merge a reference, score a sample set.

use crate::{
    EvaluatorError, FeatureSpace, MeasuredSet,
    confidence::{confidences, read_heads},
    measure::{images_of, measure, read_moments, read_tensor, write_tensors},
    metrics,
    score::{Settings, Sides, metrics_named, scores},
};
use anyhow::anyhow;
use cedm_clustering::temi::Model;
use cedm_contract::{
    JobResult, JobSpec, Manifest, MeasureResult, ReferenceResult, ScoreResult, Service, ShardRef,
    params::{
        ClusterMethod, ClusterParams, ExtractorSpec, MeasureParams, ReferenceParams, ScoreParams,
    },
};
use cedm_maths::Gaussian;
use cedm_nets::Extractor;
use cedm_runtime::{
    JobContext, JobError, Monitor, Outcome, Stability, Worker, metrics::MetricDefinition,
};
use std::{collections::BTreeMap, time::Instant};

const FEATURES: &str = "features.safetensors";
const MOMENTS: &str = "moments.safetensors";
const REFERENCE: &str = "reference.safetensors";
const SPACE: &str = "space.json";
const HEADS: &str = "heads.safetensors";
const CONFIDENCE: &str = "confidence.safetensors";

/// The evaluator at work; it keeps the extractor of the last job.
#[derive(Default)]
pub struct EvaluatorWorker {
    loaded: Option<(FeatureSpace, ExtractorSpec, Extractor)>,
}

impl Worker for EvaluatorWorker {
    fn service(&self) -> Service {
        Service::Evaluator
    }

    fn device(&self) -> String {
        cedm_torch::device_name()
    }

    fn metrics(&self) -> &'static [&'static MetricDefinition] {
        metrics::METRICS
    }

    fn perform(&mut self, context: &JobContext) -> Result<Outcome, JobError> {
        let _guard = tch::no_grad_guard();
        match &context.job().spec {
            JobSpec::Measure(params) => self.measure(context, params),
            JobSpec::Reference(params) => reference(context, params),
            JobSpec::Score(params) => score(context, params),
            other => Err(JobError::reject(anyhow!(
                "the evaluator performs measure, reference and score jobs, this is a {} job",
                other.kind()
            ))),
        }
    }
}

impl EvaluatorWorker {
    fn measure(
        &mut self,
        context: &JobContext,
        params: &MeasureParams,
    ) -> Result<Outcome, JobError> {
        let images = context.input("images")?;
        let shard = shard_of(images, params.shard)?;
        let pixels = cedm_images::read_shard(&context.fetch(&shard.object)?)
            .map_err(|error| refuse(error.into()))?;
        let space = space_of(context, &params.extractor);
        self.load(context, &params.extractor, &space)?;
        let (_, _, extractor) = self.loaded.as_ref().expect("invariant: loaded above");
        let started = Instant::now();
        let name = format!(
            "shard {} of {} {}",
            params.shard,
            images.kind(),
            images.key.short()
        );
        let found = measure(&name, extractor, &images_of(&pixels)).map_err(refuse)?;
        let seconds = started.elapsed().as_secs_f64();
        let (features, moments) = (
            context.scratch().join(FEATURES),
            context.scratch().join(MOMENTS),
        );
        found.write_features(&features).map_err(refuse)?;
        found.write_moments(&moments).map_err(refuse)?;
        context.put(FEATURES, &features, Stability::Stable)?;
        context.put(MOMENTS, &moments, Stability::Stable)?;
        context.put_bytes(SPACE, &space.encode(), Stability::Stable)?;
        let (count, dim) = (found.features.count() as u64, found.features.width() as u32);
        context.count(&metrics::IMAGES, count);
        context.progress(count, count, "images");
        let metrics = BTreeMap::from([(
            "images_per_second".to_owned(),
            count as f64 / seconds.max(1e-9),
        )]);
        Ok(Outcome {
            result: JobResult::Measure(MeasureResult { count, dim }),
            metrics,
        })
    }

    /// Loads the extractor unless the last job left it loaded.
    fn load(
        &mut self,
        context: &JobContext,
        spec: &ExtractorSpec,
        space: &FeatureSpace,
    ) -> Result<(), JobError> {
        if self
            .loaded
            .as_ref()
            .is_some_and(|(last, last_spec, _)| last == space && last_spec == spec)
        {
            return Ok(());
        }
        let weights = spec
            .weights
            .as_ref()
            .map(|weights| context.fetch(weights))
            .transpose()?;
        let fit = context
            .optional("fit")
            .map(|fit| context.fetch_output(fit, "extractor.safetensors"))
            .transpose()?;
        let extractor = Extractor::load(
            spec,
            weights.as_deref(),
            fit.as_deref(),
            cedm_torch::device(),
        )
        .map_err(|error| refuse(error.into()))?;
        self.loaded = Some((space.clone(), spec.clone(), extractor));
        Ok(())
    }
}

/// Merges the moments of all shards; the root is computed here, once for all scores.
fn reference(context: &JobContext, params: &ReferenceParams) -> Result<Outcome, JobError> {
    let inputs = context.inputs("shard/");
    let (mut space, mut shards, mut first) = (None, Vec::new(), 0);
    for (role, manifest) in &inputs {
        let measured = measured_by(role, manifest, &params.extractor)?;
        require_space(&mut space, role, read_space(context, manifest)?)?;
        let features = manifest
            .output(FEATURES)
            .ok_or_else(|| JobError::reject(anyhow!("{role} has no output {FEATURES}")))?;
        shards.push(ShardRef {
            object: features.object.clone(),
            first,
            count: measured.count,
        });
        first += measured.count;
    }
    let mut set = merged(context, "the reference", &inputs)?;
    if let Some(limit) = params.at_most.filter(|limit| *limit < first) {
        let file = context.scratch().join(FEATURES);
        set = set.at_most(limit, &file).map_err(refuse)?;
        let object = context.put(FEATURES, &file, Stability::Stable)?;
        shards = vec![ShardRef {
            object,
            first: 0,
            count: limit,
        }];
        first = limit;
    }
    let root = set.root().map_err(refuse)?;
    let gaussian = set.gaussian().map_err(refuse)?;
    let file = context.scratch().join(REFERENCE);
    write_tensors(
        &file,
        &[
            ("mu", gaussian.mu()),
            ("root", root),
            ("sigma", gaussian.sigma()),
        ],
    )
    .map_err(refuse)?;
    context.put(REFERENCE, &file, Stability::Stable)?;
    let space = space.unwrap_or_else(|| FeatureSpace::of(&params.extractor, None));
    context.put_bytes(SPACE, &space.encode(), Stability::Stable)?;
    let metrics = BTreeMap::from([("rank".to_owned(), root.size()[1] as f64)]);
    Ok(Outcome {
        result: JobResult::Reference(ReferenceResult {
            count: first,
            dim: gaussian.width() as u32,
            shards,
        }),
        metrics,
    })
}

fn score(context: &JobContext, params: &ScoreParams) -> Result<Outcome, JobError> {
    let metrics = metrics_named(&params.metrics).map_err(refuse)?;
    let inputs = context.inputs("shard/");
    let mut space = None;
    for (role, manifest) in &inputs {
        measured_by(role, manifest, &params.extractor)?;
        require_space(&mut space, role, read_space(context, manifest)?)?;
    }
    let generated = merged(context, "the sample set", &inputs)?.within(space);
    let side = |role: &str, name: &str| {
        context
            .optional(role)
            .map(|manifest| referred(context, role, name, manifest, &params.extractor))
            .transpose()
    };
    let reference = side("reference", "the training images")?;
    let unconditional = side("unconditional", "the unconditional sample set")?;
    let test = side("test", "the test split")?;
    let heads = context
        .optional("condition")
        .map(|manifest| heads_of(context, manifest))
        .transpose()?;
    let sides = Sides {
        generated: &generated,
        reference: reference.as_ref(),
        unconditional: unconditional.as_ref(),
        test: test.as_ref(),
        heads: heads.as_ref(),
    };
    let scores =
        scores(&metrics, sides, Settings::default(), params.seed, context).map_err(refuse)?;
    if let (Some(heads), true) = (
        &heads,
        scores
            .get("confidence")
            .is_some_and(|score| score.value.is_some()),
    ) {
        put_confidence(context, heads, &generated)?;
    }
    context.count(
        &metrics::SCORES_MISSING,
        scores
            .values()
            .filter(|score| score.value.is_none())
            .count() as u64,
    );
    let count = |set: Option<&MeasuredSet>| set.and_then(|set| set.count).unwrap_or(0) as u64;
    let result = ScoreResult {
        count: count(Some(&generated)),
        reference_count: count(reference.as_ref()),
        scores,
    };
    Ok(Outcome {
        result: JobResult::Score(result),
        metrics: BTreeMap::new(),
    })
}

/// The TEMI head behind a clustering.
fn heads_of(context: &JobContext, manifest: &Manifest) -> Result<Model, JobError> {
    let JobSpec::Cluster(ClusterParams {
        method: ClusterMethod::Temi(temi),
        ..
    }) = &manifest.spec
    else {
        return Err(JobError::reject(anyhow!(
            "input `condition` is a {} job, expected a TEMI clustering: only its head has a \
             confidence",
            manifest.kind()
        )));
    };
    read_heads(&context.fetch_output(manifest, HEADS)?, temi.l2_norm).map_err(refuse)
}

/// What the head thinks of every single image, for galleries.
fn put_confidence(
    context: &JobContext,
    heads: &Model,
    generated: &MeasuredSet,
) -> Result<(), JobError> {
    let found = confidences(heads, generated).map_err(refuse)?;
    let file = context.scratch().join(CONFIDENCE);
    let log_confidence = found.log_confidence.to_kind(tch::Kind::Float);
    write_tensors(
        &file,
        &[
            ("cluster", &found.cluster),
            ("log_confidence", &log_confidence),
        ],
    )
    .map_err(refuse)?;
    context.put(CONFIDENCE, &file, Stability::Stable)?;
    Ok(())
}

/// The measured set behind `shard/…` inputs.
fn merged(
    context: &JobContext,
    name: &str,
    inputs: &[(&str, &Manifest)],
) -> Result<MeasuredSet, JobError> {
    let mut files = Vec::with_capacity(inputs.len());
    for (_, manifest) in inputs {
        files.push(context.fetch_output(manifest, FEATURES)?);
    }
    let mut moments = Vec::with_capacity(inputs.len());
    for (done, (role, manifest)) in inputs.iter().enumerate() {
        context.progress(done as u64, inputs.len() as u64, "shards");
        moments.push(read_moments(
            role,
            &context.fetch_output(manifest, MOMENTS)?,
        ));
    }
    MeasuredSet::merge(name, moments, files).map_err(refuse)
}

/// The set behind a Reference manifest.
fn referred(
    context: &JobContext,
    role: &str,
    name: &str,
    manifest: &Manifest,
    extractor: &ExtractorSpec,
) -> Result<MeasuredSet, JobError> {
    let (JobSpec::Reference(params), JobResult::Reference(found)) =
        (&manifest.spec, &manifest.result)
    else {
        return Err(JobError::reject(anyhow!(
            "input `{role}` is a {} job, expected a reference job",
            manifest.kind()
        )));
    };
    require_extractor(role, &params.extractor, extractor)?;
    let file = context.fetch_output(manifest, REFERENCE)?;
    let tensor = |part: &str| {
        read_tensor(&file, part).map_err(refuse)?.ok_or_else(|| {
            JobError::reject(anyhow!("{REFERENCE} of `{role}` has no tensor `{part}`"))
        })
    };
    let gaussian = Gaussian::new(name, &tensor("mu")?, &tensor("sigma")?)
        .map_err(|error| refuse(error.into()))?;
    let root = tensor("root")?;
    let files = found
        .shards
        .iter()
        .map(|shard| context.fetch(&shard.object))
        .collect::<Result<_, _>>()?;
    let set =
        MeasuredSet::from_gaussian(name, gaussian, Some(root), Some(found.count as i64), files);
    Ok(set.within(Some(read_space(context, manifest)?)))
}

fn shard_of(images: &Manifest, index: u32) -> Result<&ShardRef, JobError> {
    let shards = match &images.result {
        JobResult::Import(set) => &set.shards,
        JobResult::SampleSet(set) => &set.shards,
        _ => {
            return Err(JobError::reject(anyhow!(
                "input `images` is a {} job, expected import or sample_set",
                images.kind()
            )));
        }
    };
    shards.get(index as usize).ok_or_else(|| {
        JobError::reject(anyhow!(
            "there is no shard {index}: the {} has {}",
            images.kind(),
            shards.len()
        ))
    })
}

fn measured_by<'a>(
    role: &str,
    manifest: &'a Manifest,
    extractor: &ExtractorSpec,
) -> Result<&'a MeasureResult, JobError> {
    let (JobSpec::Measure(params), JobResult::Measure(found)) = (&manifest.spec, &manifest.result)
    else {
        return Err(JobError::reject(anyhow!(
            "input `{role}` is a {} job, expected a measure job",
            manifest.kind()
        )));
    };
    require_extractor(role, &params.extractor, extractor)?;
    Ok(found)
}

fn require_extractor(
    role: &str,
    found: &ExtractorSpec,
    expected: &ExtractorSpec,
) -> Result<(), JobError> {
    let (found, expected) = (
        FeatureSpace::of(found, None),
        FeatureSpace::of(expected, None),
    );
    expected
        .require("this job", &found, &format!("input `{role}`"))
        .map_err(refuse)
}

fn require_space(
    space: &mut Option<FeatureSpace>,
    role: &str,
    found: FeatureSpace,
) -> Result<(), JobError> {
    match space {
        Some(first) => first
            .require("the first shard", &found, role)
            .map_err(refuse),
        None => {
            *space = Some(found);
            Ok(())
        }
    }
}

fn space_of(context: &JobContext, spec: &ExtractorSpec) -> FeatureSpace {
    FeatureSpace::of(spec, context.optional("fit").map(|fit| fit.digest.clone()))
}

fn read_space(context: &JobContext, manifest: &Manifest) -> Result<FeatureSpace, JobError> {
    let file = context.fetch_output(manifest, SPACE)?;
    let bytes = std::fs::read(&file).map_err(JobError::retry)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| JobError::reject(anyhow!("{SPACE} of {}: {error}", manifest.key)))
}

/// Wrong inputs stay wrong; failing disks and broken decompositions may not.
fn refuse(error: EvaluatorError) -> JobError {
    match error {
        EvaluatorError::Images(cedm_images::ImageError::Io { .. })
        | EvaluatorError::Net(cedm_nets::NetError::Io { .. }) => JobError::retry(error),
        EvaluatorError::Torch { .. } | EvaluatorError::Net(cedm_nets::NetError::Torch(_)) => {
            JobError::bug(error)
        }
        EvaluatorError::Maths(cedm_maths::MathsError::Torch { .. }) => JobError::bug(error),
        other => JobError::reject(other),
    }
}

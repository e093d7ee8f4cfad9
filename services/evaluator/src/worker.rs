//! The three kinds of job: measure a shard, merge a reference, score a sample set.

use crate::{
    FeatureSpace, MeasuredSet,
    confidence::{confidences, read_heads},
    measure::measure,
    metrics,
    score::{ComparedSets, Settings, metrics_named, scores},
    shards::{Shards, read_space, require_extractor},
};
use anyhow::anyhow;
use cedm_catalogue::metrics::CONFIDENCE;
use cedm_clustering::temi::Model;
use cedm_contract::{
    ExtractorSpec, JobResult, JobSpec, Manifest, Service, ShardRef, TensorName,
    kinds::{
        cluster::{ClusterMethod, ClusterParams, HEADS},
        fit::EXTRACTOR,
        measure::{self, MeasureInputs, MeasureParams, MeasureResult},
        reference::{self, ReferenceInputs, ReferenceParams, ReferenceResult, gaussian},
        score::{self, ScoreInputs, ScoreParams, ScoreResult, confidence},
    },
    run_metrics,
};
use cedm_maths::Gaussian;
use cedm_nets::{Extractor, images_of};
use cedm_runtime::{
    ComputeDevice, JobContext, JobError, Monitor, Outcome, Worker, metrics::MetricDefinition,
};
use cedm_torch::{Compute, DeviceError, tensor_files};
use std::{collections::BTreeMap, time::Instant};

/// Performs `measure`, `reference` and `score` jobs; keeps the extractor of the last one.
pub struct EvaluatorWorker {
    compute: Compute,
    loaded: Option<(FeatureSpace, ExtractorSpec, Extractor)>,
}

impl Worker for EvaluatorWorker {
    fn service(&self) -> Service {
        Service::Evaluator
    }

    fn device(&self) -> ComputeDevice {
        ComputeDevice {
            name: self.compute.device_name(),
            reason: self.compute.reason.clone(),
            deterministic: self.compute.deterministic,
        }
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
            other => Err(JobError::wrong_kind(Service::Evaluator, other.kind())),
        }
    }
}

impl EvaluatorWorker {
    /// A worker without an extractor; starts libtorch.
    ///
    /// # Errors
    /// When the device that the environment asks for cannot be had.
    pub fn start() -> Result<Self, DeviceError> {
        Ok(Self {
            compute: cedm_torch::start()?,
            loaded: None,
        })
    }

    fn measure(
        &mut self,
        context: &JobContext,
        params: &MeasureParams,
    ) -> Result<Outcome, JobError> {
        let MeasureInputs { images, fit } = context.inputs::<MeasureParams>()?;
        let shard = shard_of(images, params.shard)?;
        let pixels = cedm_images::read_shard(&context.fetch(&shard.object)?)?;
        let space = FeatureSpace::of(&params.extractor, fit.map(|fit| fit.digest.clone()));
        self.load(context, &params.extractor, fit, &space)?;
        let (_, _, extractor) = self.loaded.as_ref().expect("invariant: loaded above");
        let started = Instant::now();
        // Errors name the shard as a person finds it, by number and by the job that made it.
        let name = format!(
            "shard {} of {} {}",
            params.shard,
            images.kind(),
            images.key.short()
        );
        let found = measure(&name, extractor, &images_of(&pixels), context)?;
        let seconds = started.elapsed().as_secs_f64();
        let (features, moments) = (
            context.scratch().join(measure::FEATURES),
            context.scratch().join(measure::MOMENTS),
        );
        found.write_features(&features)?;
        found.write_moments(&moments)?;
        context.put(measure::FEATURES, &features)?;
        context.put(measure::MOMENTS, &moments)?;
        context.put_bytes(measure::SPACE, &space.encode())?;
        let (count, dim) = (found.features.count() as u64, found.features.width() as u32);
        context.count(&metrics::IMAGES, count);
        context.progress(count, count, "images");
        let metrics = BTreeMap::from([(
            run_metrics::IMAGES_PER_SECOND.to_owned(),
            // A clock that did not move must not put an infinity into the manifest.
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
        fit: Option<&Manifest>,
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
        let fit = fit
            .map(|fit| context.fetch_output(fit, EXTRACTOR))
            .transpose()?;
        let extractor = Extractor::load(
            spec,
            weights.as_deref(),
            fit.as_deref(),
            self.compute.device,
        )?;
        self.loaded = Some((space.clone(), spec.clone(), extractor));
        Ok(())
    }
}

/// Merges the moments of all shards, and computes the root of the covariance once for all scores;
/// of a part it only lists the shards.
fn reference(context: &JobContext, params: &ReferenceParams) -> Result<Outcome, JobError> {
    let ReferenceInputs { shards: inputs } = context.inputs::<ReferenceParams>()?;
    let shards = Shards::of(context, &inputs, &params.extractor)?;
    if params.partial {
        return part(context, params, shards);
    }
    let mut set = shards.merged(context, "the reference")?;
    let Shards { space, listed } = shards;
    let (mut shards, mut first) = (listed.shards, listed.count);
    // The subset is stored, so that every score of the sweep compares with the same rows.
    if let Some(limit) = params.at_most.filter(|limit| *limit < first) {
        let file = context.scratch().join(reference::FEATURES);
        set = set.at_most(limit, &file)?;
        let object = context.put(reference::FEATURES, &file)?;
        shards = vec![ShardRef {
            object,
            first: 0,
            count: limit,
        }];
        first = limit;
    }
    // Of a Fréchet distance the eigendecomposition is the expensive half, and it depends on this
    // side alone: once here instead of once per sample set.
    let root = set.root()?;
    let gaussian = set.gaussian()?;
    let file = context.scratch().join(reference::REFERENCE);
    let tensors = [
        (gaussian::MU.name, gaussian.mu()),
        (gaussian::ROOT.name, root),
        (gaussian::SIGMA.name, gaussian.sigma()),
    ];
    tensor_files::write(&file, &tensors, &[])?;
    context.put(reference::REFERENCE, &file)?;
    put_space(context, params, space)?;
    let metrics = BTreeMap::from([(run_metrics::RANK.to_owned(), root.size()[1] as f64)]);
    Ok(Outcome {
        result: JobResult::Reference(ReferenceResult {
            count: first,
            dim: gaussian.width() as u32,
            shards,
            moments: Vec::new(),
        }),
        metrics,
    })
}

/// Lists the shards of a part of a set.
fn part(context: &JobContext, params: &ReferenceParams, part: Shards) -> Result<Outcome, JobError> {
    let Shards { space, listed } = part;
    let objects = listed.shards.iter().chain(&listed.moments);
    context.check(objects.map(|shard| &shard.object))?;
    put_space(context, params, space)?;
    Ok(Outcome {
        result: JobResult::Reference(listed),
        metrics: BTreeMap::new(),
    })
}

fn put_space(
    context: &JobContext,
    params: &ReferenceParams,
    space: Option<FeatureSpace>,
) -> Result<(), JobError> {
    let space = space.unwrap_or_else(|| FeatureSpace::of(&params.extractor, None));
    context.put_bytes(reference::SPACE, &space.encode())?;
    Ok(())
}

fn score(context: &JobContext, params: &ScoreParams) -> Result<Outcome, JobError> {
    let metrics = metrics_named(&params.metrics)?;
    let ScoreInputs {
        reference,
        shards,
        unconditional,
        test,
        condition,
    } = context.inputs::<ScoreParams>()?;
    let shards = Shards::of(context, &shards, &params.extractor)?;
    let generated = shards
        .merged(context, "the sample set")?
        .within(shards.space);
    let side = |manifest, name| reference_set(context, name, manifest, &params.extractor);
    let reference = side(reference, "the training images")?;
    let unconditional = unconditional
        .map(|manifest| side(manifest, "the unconditional sample set"))
        .transpose()?;
    let test = test
        .map(|manifest| side(manifest, "the test split"))
        .transpose()?;
    let heads = condition
        .map(|manifest| heads_of(context, manifest))
        .transpose()?;
    let sides = ComparedSets {
        generated: &generated,
        reference: Some(&reference),
        unconditional: unconditional.as_ref(),
        test: test.as_ref(),
        heads: heads.as_ref(),
    };
    let scores = scores(&metrics, sides, Settings::default(), params.seed, context)?;
    if let (Some(heads), true) = (
        &heads,
        scores
            .get(CONFIDENCE)
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
        reference_count: count(Some(&reference)),
        scores,
    };
    Ok(Outcome {
        result: JobResult::Score(result),
        metrics: BTreeMap::new(),
    })
}

/// The TEMI head behind a clustering.
fn heads_of(context: &JobContext, manifest: &Manifest) -> Result<Model, JobError> {
    let (params, _) = manifest
        .as_kind::<ClusterParams>()
        .map_err(JobError::contract)?;
    let ClusterMethod::Temi(temi) = &params.method else {
        return Err(JobError::reject(anyhow!(
            "the condition {} is not a TEMI clustering: only the head of one has a confidence",
            manifest.key
        )));
    };
    Ok(read_heads(
        &context.fetch_output(manifest, HEADS)?,
        temi.l2_norm,
    )?)
}

/// Stores the cluster of every image and the head's confidence in it, for galleries.
fn put_confidence(
    context: &JobContext,
    heads: &Model,
    generated: &MeasuredSet,
) -> Result<(), JobError> {
    let found = confidences(heads, generated)?;
    let file = context.scratch().join(score::CONFIDENCE);
    // The logarithm in float32 still orders images whose probability rounds to 1.
    let log_confidence = found.log_confidence.to_kind(tch::Kind::Float);
    let tensors = [
        (confidence::CLUSTER.name, &found.cluster),
        (confidence::LOG_CONFIDENCE.name, &log_confidence),
    ];
    tensor_files::write(&file, &tensors, &[])?;
    context.put(score::CONFIDENCE, &file)?;
    Ok(())
}

/// The set that a `reference` job measured.
fn reference_set(
    context: &JobContext,
    name: &str,
    manifest: &Manifest,
    extractor: &ExtractorSpec,
) -> Result<MeasuredSet, JobError> {
    let (params, found) = manifest
        .as_kind::<ReferenceParams>()
        .map_err(JobError::contract)?;
    require_extractor(name, &params.extractor, extractor)?;
    let output = reference::REFERENCE;
    let file = context.fetch_output(manifest, output)?;
    let tensor = |part: TensorName| tensor_files::read_one(&file, part.name);
    let fitted = Gaussian::new(name, &tensor(gaussian::MU)?, &tensor(gaussian::SIGMA)?)?;
    let root = tensor(gaussian::ROOT)?;
    let files = found
        .shards
        .iter()
        .map(|shard| context.fetch(&shard.object))
        .collect::<Result<_, _>>()?;
    let set = MeasuredSet::from_gaussian(name, fitted, Some(root), Some(found.count as i64), files);
    Ok(set.within(Some(read_space(context, manifest, reference::SPACE)?)))
}

fn shard_of(images: &Manifest, index: u32) -> Result<&ShardRef, JobError> {
    let (shards, _) = images.result.images().ok_or_else(|| {
        JobError::reject(anyhow!(
            "input `images` is the result of a {} job, expected import or sample_set",
            images.kind()
        ))
    })?;
    shards.get(index as usize).ok_or_else(|| {
        JobError::reject(anyhow!(
            "shard {index} of the {} does not exist: it has {} shards",
            images.kind(),
            shards.len()
        ))
    })
}

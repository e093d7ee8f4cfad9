//! The three kinds of job: measure a shard, merge a reference, score a sample set.

use crate::{
    FeatureSpace, MeasuredSet,
    confidence::{confidences, read_heads},
    measure::{measure, read_moments},
    metrics,
    score::{ComparedSets, Settings, metrics_named, scores},
};
use anyhow::anyhow;
use cedm_catalogue::metrics::CONFIDENCE;
use cedm_clustering::temi::Model;
use cedm_contract::{
    ExtractorSpec, JobResult, JobSpec, Manifest, OutputName, Service, ShardRef, TensorName,
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
use cedm_runtime::{JobContext, JobError, Monitor, Outcome, Worker, metrics::MetricDefinition};
use cedm_torch::{Compute, tensor_files};
use std::{collections::BTreeMap, path::PathBuf, time::Instant};

/// Performs `measure`, `reference` and `score` jobs; keeps the extractor of the last one.
pub struct EvaluatorWorker {
    compute: Compute,
    loaded: Option<(FeatureSpace, ExtractorSpec, Extractor)>,
}

impl Worker for EvaluatorWorker {
    fn service(&self) -> Service {
        Service::Evaluator
    }

    fn device(&self) -> String {
        self.compute.device_name()
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
    pub fn start() -> Self {
        Self {
            compute: cedm_torch::start(),
            loaded: None,
        }
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
        let found = measure(&name, extractor, &images_of(&pixels))?;
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

/// Merges the moments of all shards, and computes the root of the covariance once for all scores.
fn reference(context: &JobContext, params: &ReferenceParams) -> Result<Outcome, JobError> {
    let ReferenceInputs { shards: inputs } = context.inputs::<ReferenceParams>()?;
    let (mut space, mut shards, mut first) = (None, Vec::new(), 0);
    for (index, manifest) in inputs.iter().enumerate() {
        if let JobResult::Reference(part) = &manifest.result {
            require_part(index, manifest, &params.extractor)?;
            let found = read_space(context, manifest, reference::SPACE)?;
            require_space(&mut space, index, found)?;
            shards.extend(part.shards.iter().map(|shard| ShardRef {
                first: first + shard.first,
                ..shard.clone()
            }));
            first += part.count;
            continue;
        }
        let measured = measured_by(index, manifest, &params.extractor)?;
        require_space(
            &mut space,
            index,
            read_space(context, manifest, measure::SPACE)?,
        )?;
        let features = manifest.output(measure::FEATURES).ok_or_else(|| {
            let name = measure::FEATURES;
            JobError::reject(anyhow!("shard {index} has no output {name}"))
        })?;
        shards.push(ShardRef {
            object: features.object.clone(),
            first,
            count: measured.count,
        });
        first += measured.count;
    }
    let subset = params
        .at_most
        .filter(|limit| !params.part && *limit < first);
    // Single features are read for a subset alone: all else follows from the moments.
    let files = match subset {
        Some(_) => feature_files(context, &inputs)?,
        None => Vec::new(),
    };
    let mut set = merged(context, "the reference", &inputs, files)?;
    if params.part {
        let file = context.scratch().join(measure::MOMENTS);
        set.write_moments(&file)?;
        context.put(measure::MOMENTS, &file)?;
        let space = space.unwrap_or_else(|| FeatureSpace::of(&params.extractor, None));
        context.put_bytes(reference::SPACE, &space.encode())?;
        let dim = set.gaussian()?.width() as u32;
        let count = first;
        return Ok(Outcome {
            result: JobResult::Reference(ReferenceResult { count, dim, shards }),
            metrics: BTreeMap::new(),
        });
    }
    // The subset is stored, so that every score of the sweep compares with the same rows.
    if let Some(limit) = subset {
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
    let space = space.unwrap_or_else(|| FeatureSpace::of(&params.extractor, None));
    context.put_bytes(reference::SPACE, &space.encode())?;
    let metrics = BTreeMap::from([(run_metrics::RANK.to_owned(), root.size()[1] as f64)]);
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
    let metrics = metrics_named(&params.metrics)?;
    let ScoreInputs {
        reference,
        shards,
        unconditional,
        test,
        condition,
    } = context.inputs::<ScoreParams>()?;
    let mut space = None;
    for (index, manifest) in shards.iter().enumerate() {
        measured_by(index, manifest, &params.extractor)?;
        require_space(
            &mut space,
            index,
            read_space(context, manifest, measure::SPACE)?,
        )?;
    }
    let files = feature_files(context, &shards)?;
    let generated = merged(context, "the sample set", &shards, files)?.within(space);
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

/// The feature files of all shards. Fetched, not read: a metric that needs single features reads
/// them when it is computed.
fn feature_files(context: &JobContext, inputs: &[&Manifest]) -> Result<Vec<PathBuf>, JobError> {
    let mut files = Vec::with_capacity(inputs.len());
    for manifest in inputs {
        match &manifest.result {
            JobResult::Reference(part) => {
                for shard in &part.shards {
                    files.push(context.fetch(&shard.object)?);
                }
            }
            _ => files.push(context.fetch_output(manifest, measure::FEATURES)?),
        }
    }
    Ok(files)
}

/// The set of all shards: their moments merged, their features in `files`.
fn merged(
    context: &JobContext,
    name: &str,
    inputs: &[&Manifest],
    files: Vec<PathBuf>,
) -> Result<MeasuredSet, JobError> {
    let mut moments = Vec::with_capacity(inputs.len());
    for (index, manifest) in inputs.iter().enumerate() {
        context.progress(index as u64, inputs.len() as u64, "shards");
        moments.push(context.fetch_output(manifest, measure::MOMENTS)?);
    }
    // Read one by one while they are merged: each is a matrix of dim × dim.
    let read = |(index, file): (usize, &PathBuf)| read_moments(&format!("shard {index}"), file);
    let moments = moments.iter().enumerate().map(read);
    Ok(MeasuredSet::merge(name, moments, files)?)
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

/// The result of a `measure` job, after a check that it used this extractor.
fn measured_by<'a>(
    index: usize,
    manifest: &'a Manifest,
    extractor: &ExtractorSpec,
) -> Result<&'a MeasureResult, JobError> {
    let (params, found) = manifest
        .as_kind::<MeasureParams>()
        .map_err(JobError::contract)?;
    require_extractor(&format!("shard {index}"), &params.extractor, extractor)?;
    Ok(found)
}

/// Checks that a reference is a part, whose moments are there, in the same feature space.
fn require_part(
    index: usize,
    manifest: &Manifest,
    extractor: &ExtractorSpec,
) -> Result<(), JobError> {
    let (params, _) = manifest
        .as_kind::<ReferenceParams>()
        .map_err(JobError::contract)?;
    if !params.part {
        return Err(JobError::reject(anyhow!(
            "input {index} is a whole reference, expected a part of one"
        )));
    }
    require_extractor(&format!("part {index}"), &params.extractor, extractor)
}

fn require_extractor(
    name: &str,
    found: &ExtractorSpec,
    expected: &ExtractorSpec,
) -> Result<(), JobError> {
    let (found, expected) = (
        FeatureSpace::of(found, None),
        FeatureSpace::of(expected, None),
    );
    Ok(expected.require("this job", &found, name)?)
}

/// Checks that all shards were measured in the feature space of the first one.
fn require_space(
    space: &mut Option<FeatureSpace>,
    index: usize,
    found: FeatureSpace,
) -> Result<(), JobError> {
    match space {
        Some(first) => Ok(first.require("the first shard", &found, &format!("shard {index}"))?),
        None => {
            *space = Some(found);
            Ok(())
        }
    }
}

/// The feature space that a `measure` or `reference` job wrote as `name`.
fn read_space(
    context: &JobContext,
    manifest: &Manifest,
    name: OutputName,
) -> Result<FeatureSpace, JobError> {
    let file = context.fetch_output(manifest, name)?;
    let bytes = std::fs::read(&file)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| JobError::reject(anyhow!("{name} of {}: {error}", manifest.key)))
}

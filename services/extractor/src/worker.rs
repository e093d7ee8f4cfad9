//! The five kinds of job: adapt a backbone, fit an extractor, extract one shard, merge shards,
//! evaluate features.

use crate::{
    adapt::{adapt, curve},
    extract::{extract_shard, fit_shards, read_features, write_features},
    feature_evaluation::{Labelled, evaluate_features, stride},
    merge::Statistics,
    metrics,
};
use anyhow::anyhow;
use cedm_contract::{
    ExtractorSpec, JobResult, JobSpec, Manifest, Service, ShardRef,
    kinds::{
        adapt::{self, AdaptInputs, AdaptParams},
        extract::{self, ExtractInputs, ExtractParams, ExtractResult},
        feature_evaluation::{FeatureEvaluationInputs, FeatureEvaluationParams},
        features::{self, FeatureSet, FeaturesInputs, FeaturesParams},
        fit::{self, FitInputs, FitParams, FitResult},
    },
    run_metrics,
};
use cedm_dino::{ImageSource, Training};
use cedm_nets::{Extractor, images_of};
use cedm_runtime::{
    ComputeDevice, JobContext, JobError, Monitor, Outcome, Worker, metrics::MetricDefinition,
};
use cedm_torch::{Compute, DeviceError};
use std::{collections::BTreeMap, time::Instant};
use tch::{Device, Tensor};

/// Performs the jobs of this service; keeps the network of the last one loaded.
pub struct ExtractorWorker {
    compute: Compute,
    loaded: Option<Loaded>,
}

/// A loaded network, and what it was loaded from.
struct Loaded {
    spec: ExtractorSpec,
    /// Digests of the manifests of its `fit` and `adapt` jobs; `None` where it has no such job.
    fitted_by: [Option<String>; 2],
    extractor: Extractor,
}

impl ExtractorWorker {
    /// A worker without a network; starts libtorch.
    ///
    /// # Errors
    /// When the device that the environment asks for cannot be had.
    pub fn start() -> Result<Self, DeviceError> {
        Ok(Self {
            compute: cedm_torch::start()?,
            loaded: None,
        })
    }
}

impl Worker for ExtractorWorker {
    fn service(&self) -> Service {
        Service::Extractor
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
            JobSpec::Adapt(params) => adapt_backbone(context, params, self.compute.device),
            JobSpec::Fit(params) => fit(context, params),
            JobSpec::Extract(params) => self.extract(context, params),
            JobSpec::Features(params) => merge(context, params),
            JobSpec::FeatureEvaluation(params) => evaluate(context, params, self.compute.device),
            other => Err(JobError::wrong_kind(Service::Extractor, other.kind())),
        }
    }
}

impl ExtractorWorker {
    fn extract(
        &mut self,
        context: &JobContext,
        params: &ExtractParams,
    ) -> Result<Outcome, JobError> {
        let ExtractInputs {
            images,
            fit,
            adapted,
        } = context.inputs::<ExtractParams>()?;
        let (shards, count) = shards_of(images)?;
        let shard = shards.get(params.shard as usize).ok_or_else(|| {
            JobError::reject(anyhow!(
                "shard {} of {} {} does not exist: it has {} shards",
                params.shard,
                images.kind(),
                images.key.short(),
                shards.len()
            ))
        })?;
        let pixels = cedm_images::read_shard(&context.fetch(&shard.object)?)?;
        self.load(context, &params.extractor, fit, adapted)?;
        let extractor = &self
            .loaded
            .as_ref()
            .expect("invariant: loaded above")
            .extractor;
        let started = Instant::now();
        let features = extract_shard(extractor, &images_of(&pixels), 0, shard.count, context)?;
        let rate = shard.count as f64 / started.elapsed().as_secs_f64().max(1e-9);
        tracing::debug!(
            shard = params.shard,
            of = count,
            images_per_second = rate,
            "extracted"
        );
        let file = context.scratch().join(extract::FEATURES);
        write_features(&features, None, &file)?;
        context.put(extract::FEATURES, &file)?;
        let (count, dim) = (
            features.features.size()[0] as u64,
            features.features.size()[1] as u32,
        );
        Ok(Outcome {
            result: JobResult::Extract(ExtractResult { count, dim }),
            metrics: BTreeMap::from([(run_metrics::IMAGES_PER_SECOND.to_owned(), rate)]),
        })
    }

    /// Loads the network unless the last job left it loaded.
    fn load(
        &mut self,
        context: &JobContext,
        spec: &ExtractorSpec,
        fit: Option<&Manifest>,
        adapted: Option<&Manifest>,
    ) -> Result<(), JobError> {
        let fitted_by =
            [fit, adapted].map(|manifest| manifest.map(|manifest| manifest.digest.to_string()));
        if self
            .loaded
            .as_ref()
            .is_some_and(|last| last.spec == *spec && last.fitted_by == fitted_by)
        {
            return Ok(());
        }
        // Dropped before the next one is loaded: two large networks may not fit on a GPU.
        self.loaded = None;
        // An adapted backbone replaces the published weights.
        let weights = match (adapted, &spec.weights) {
            (Some(adapted), _) => Some(context.fetch_output(adapted, adapt::BACKBONE)?),
            (None, Some(weights)) => Some(context.fetch(weights)?),
            (None, None) => None,
        };
        let fit = fit
            .map(|fit| context.fetch_output(fit, fit::EXTRACTOR))
            .transpose()?;
        let extractor = Extractor::load(
            spec,
            weights.as_deref(),
            fit.as_deref(),
            self.compute.device,
        )?;
        self.loaded = Some(Loaded {
            spec: spec.clone(),
            fitted_by,
            extractor,
        });
        Ok(())
    }
}

fn adapt_backbone(
    context: &JobContext,
    params: &AdaptParams,
    device: Device,
) -> Result<Outcome, JobError> {
    let AdaptInputs { images } = context.inputs::<AdaptParams>()?;
    let (shards, _) = shards_of(images)?;
    let mut images = ImageSource::default();
    for shard in shards {
        let shard = cedm_images::read_shard(&context.fetch(&shard.object)?)?;
        images.add(shard)?;
    }
    let weights = params
        .extractor
        .weights
        .as_ref()
        .map(|weights| context.fetch(weights))
        .transpose()?;
    let started = Instant::now();
    let mut training = Training::new(
        &params.extractor,
        &params.training,
        weights.as_deref(),
        images,
        device,
    )?;
    let result = adapt(&mut training, context.scratch(), context)?;
    let file = context.scratch().join(adapt::BACKBONE);
    training.write_backbone(&file)?;
    context.put(adapt::BACKBONE, &file)?;
    let curve = serde_json::to_vec_pretty(&curve(&training)).map_err(JobError::bug)?;
    context.put_bytes(adapt::CURVE, &curve)?;
    // Wall-clock time differs between runs: it is a metric and not part of the result.
    let seconds = started.elapsed().as_secs_f64();
    Ok(Outcome {
        metrics: BTreeMap::from([(run_metrics::SECONDS.to_owned(), seconds)]),
        result: JobResult::Adapt(result),
    })
}

fn evaluate(
    context: &JobContext,
    params: &FeatureEvaluationParams,
    device: Device,
) -> Result<Outcome, JobError> {
    let FeatureEvaluationInputs { features, images } =
        context.inputs::<FeatureEvaluationParams>()?;
    let (shards, count) = shards_of(images)?;
    let (_, set) = features
        .as_kind::<FeaturesParams>()
        .map_err(JobError::contract)?;
    let counts = |shards: &[ShardRef]| shards.iter().map(|shard| shard.count).collect::<Vec<_>>();
    // Feature shards follow image shards one by one: other sizes mean another image set.
    if counts(shards) != counts(&set.shards) {
        return Err(JobError::reject(anyhow!(
            "the shards of {count} images and those of {} rows of features have different sizes: the features were made from other images",
            set.count
        )));
    }
    let (stride, mut rows, mut labels) = (stride(count), Vec::new(), Vec::new());
    for (shard, part) in shards.iter().zip(&set.shards) {
        let shard = cedm_images::read_shard(&context.fetch(&shard.object)?)?;
        let known = shard
            .labels
            .ok_or_else(|| JobError::reject(anyhow!("the images have no labels")))?;
        // Rows 0, stride, 2 · stride, … of the whole set, whatever the shards.
        let skip = (stride - part.first % stride) % stride;
        let picked = (skip as i64..known.len() as i64)
            .step_by(stride as usize)
            .collect::<Vec<_>>();
        labels.extend(picked.iter().map(|at| known[*at as usize]));
        let all = read_features(&context.fetch(&part.object)?)?;
        rows.push(all.index_select(0, &Tensor::from_slice(&picked)));
        context.progress(part.first + part.count, count, "images");
    }
    let labelled = Labelled {
        features: Tensor::cat(&rows, 0).to_device(device),
        labels: Tensor::from_slice(&labels).to_device(device),
    };
    // It reads no file: what it refuses are the parameters.
    let result = evaluate_features(&labelled, None, params, context).map_err(JobError::reject)?;
    Ok(Outcome {
        metrics: BTreeMap::new(),
        result: JobResult::FeatureEvaluation(result),
    })
}

fn fit(context: &JobContext, params: &FitParams) -> Result<Outcome, JobError> {
    let FitInputs { images } = context.inputs::<FitParams>()?;
    let (shards, count) = shards_of(images)?;
    let out = context.scratch().join(fit::EXTRACTOR);
    let dim = fit_shards(
        &params.extractor,
        shards.iter().map(|shard| context.fetch(&shard.object)),
        count,
        &out,
        context,
    )?;
    context.put(fit::EXTRACTOR, &out)?;
    Ok(Outcome {
        result: JobResult::Fit(FitResult { dim }),
        metrics: BTreeMap::new(),
    })
}

/// Lists the shards of a set; of a whole set also mean and standard deviation, over all of its
/// shards in order whether they were listed in parts or not.
fn merge(context: &JobContext, params: &FeaturesParams) -> Result<Outcome, JobError> {
    let FeaturesInputs { shards: inputs } = context.inputs::<FeaturesParams>()?;
    if inputs.len() != params.shards as usize {
        return Err(JobError::reject(anyhow!(
            "found {} feature shards, expected {}",
            inputs.len(),
            params.shards
        )));
    }
    let mut set = listed(&inputs)?;
    if params.partial {
        context.check(set.shards.iter().map(|shard| &shard.object))?;
    } else {
        let files = set.shards.iter().map(|shard| context.fetch(&shard.object));
        let statistics = Statistics::of(&files.collect::<Result<Vec<_>, _>>()?)?;
        let out = context.scratch().join(features::STATISTICS);
        statistics.write(&out)?;
        context.put(features::STATISTICS, &out)?;
        set.dim = statistics.dim();
    }
    context.progress(set.count, set.count, "images");
    Ok(Outcome {
        result: JobResult::Features(set),
        metrics: BTreeMap::new(),
    })
}

/// The shards behind the inputs of a merge, in order.
fn listed(inputs: &[&Manifest]) -> Result<FeatureSet, JobError> {
    let mut set = FeatureSet {
        count: 0,
        dim: 0,
        shards: Vec::new(),
    };
    let mut previous = None;
    for (index, manifest) in inputs.iter().enumerate() {
        // Offsets accumulate in the order of the roles, which is that of the image shards.
        let first = set.count;
        if let Ok((made_by, part)) = manifest.as_kind::<FeaturesParams>() {
            if !made_by.partial {
                return Err(JobError::reject(anyhow!(
                    "input {index} is a whole set of features, expected a part of one"
                )));
            }
            // The shards of one part were compared when it was listed.
            set.shards.extend(part.shards.iter().map(|shard| ShardRef {
                first: first + shard.first,
                ..shard.clone()
            }));
            (set.count, set.dim) = (first + part.count, part.dim);
            continue;
        }
        let (made_by, made) = manifest
            .as_kind::<ExtractParams>()
            .map_err(JobError::contract)?;
        // Statistics over features of several extractors would mean nothing.
        if previous
            .replace(&made_by.extractor)
            .is_some_and(|previous| *previous != made_by.extractor)
        {
            return Err(JobError::reject(anyhow!(
                "shard {index} was made by another extractor than the shards before it"
            )));
        }
        let output = manifest.output(extract::FEATURES).ok_or_else(|| {
            let name = extract::FEATURES;
            JobError::reject(anyhow!("shard {index} has no output {name}"))
        })?;
        set.shards.push(ShardRef {
            object: output.object.clone(),
            first,
            count: made.count,
        });
        (set.count, set.dim) = (first + made.count, made.dim);
    }
    Ok(set)
}

/// The shards and the number of images of an image set or sample set.
fn shards_of(images: &Manifest) -> Result<(&[ShardRef], u64), JobError> {
    images.result.images().ok_or_else(|| {
        JobError::reject(anyhow!(
            "input `images` is the result of a {} job, expected import or sample_set",
            images.kind()
        ))
    })
}

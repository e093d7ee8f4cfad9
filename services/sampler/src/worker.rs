//! The two kinds of job: sample one shard of images (`sample`), and list the shards of a whole set
//! (`sample_set`).

use crate::{
    labels::{Prior, label_distribution},
    metrics,
};
use anyhow::{Context, anyhow, ensure};
use cedm_contract::{
    JobResult, JobSpec, Manifest, Precision, Service, ShardRef,
    kinds::{
        cluster::ASSIGNMENTS,
        sample::{IMAGES, SampleInputs, SampleParams, SampleResult, images},
        sample_set::{SampleSetInputs, SampleSetParams, SampleSetResult},
        train::{EMA, TrainParams},
    },
    run_metrics,
};
use cedm_diffusion::{Architecture, Network, Parameters, sampler::Sampler};
use cedm_runtime::{
    ComputeDevice, JobContext, JobError, Monitor, Outcome, Worker, metrics::MetricDefinition,
};
use cedm_torch::{Compute, DeviceError, Tf32, tensor_files};
use std::{collections::BTreeMap, time::Instant};
use tch::{Device, Kind};

/// Performs `sample` and `sample_set` jobs; keeps the sampler of the last one, because the shards
/// of a set differ only in their seeds.
#[derive(Debug)]
pub struct SamplerWorker {
    compute: Compute,
    /// Digests of the inputs and the settings as JSON, and the sampler loaded from them.
    loaded: Option<(String, Sampler)>,
}

impl SamplerWorker {
    /// A worker without a sampler; starts libtorch.
    ///
    /// # Errors
    /// When the device that the environment asks for cannot be had.
    pub fn start() -> Result<Self, DeviceError> {
        let compute = cedm_torch::start()?;
        Ok(Self {
            compute,
            loaded: None,
        })
    }

    /// The sampler of a job; loaded unless the last job left it loaded.
    fn sampler(
        &mut self,
        context: &JobContext,
        params: &SampleParams,
    ) -> Result<&Sampler, JobError> {
        let inputs: Vec<&str> = context
            .job()
            .inputs
            .iter()
            .map(|input| input.digest.as_str())
            .collect();
        // Digests and not object keys: the same weights may lie below another attempt.
        let key = format!(
            "{} {}",
            inputs.join(" "),
            serde_json::to_string(&params.sampler).map_err(JobError::bug)?
        );
        if self
            .loaded
            .as_ref()
            .is_none_or(|(loaded, _)| *loaded != key)
        {
            self.loaded = Some((key, load(context, params, self.compute.device)?));
        }
        Ok(&self.loaded.as_ref().expect("invariant: set above").1)
    }

    fn sample(&mut self, context: &JobContext, params: &SampleParams) -> Result<Outcome, JobError> {
        if params.count == 0 {
            return Err(JobError::reject(anyhow!(
                "a shard of 0 images, expected at least 1"
            )));
        }
        let (first, count) = (params.first_seed, u64::from(params.count));
        let _tf32 = Tf32::set(params.sampler.precision == Precision::Tf32);
        let sampler = self.sampler(context, params)?;
        let begun = Instant::now();
        let mut reported = 0;
        let mut progress = |done: u64| {
            if done == reported {
                // Within a block: many calls of the network may take minutes.
                context.tick();
                return !context.stopping();
            }
            // A counter takes differences, the sampler reports totals.
            context.count(&metrics::IMAGES, done - reported);
            reported = done;
            context.gauge(
                &metrics::IMAGES_PER_SECOND,
                done as f64 / begun.elapsed().as_secs_f64().max(1e-9),
            );
            context.progress(done, count, "images");
            !context.stopping()
        };
        // A shard is small, so it has no checkpoints: another worker samples it from the start.
        let Some(samples) = sampler.images(first, count, &mut progress)? else {
            return Err(JobError::Drained);
        };
        let seconds = begun.elapsed().as_secs_f64();
        let file = context.scratch().join(IMAGES);
        let tensors = [
            (images::IMAGES.name, &samples.images),
            (images::LABELS.name, &samples.labels),
            (images::SEEDS.name, &samples.seeds),
        ];
        tensor_files::write(&file, &tensors, &[])?;
        context.put(IMAGES, &file)?;
        let (channels, side) = sampler.shape();
        let result = JobResult::Sample(SampleResult {
            count,
            first_seed: first,
            channels: channels as u32,
            resolution: side as u32,
        });
        Ok(Outcome {
            result,
            metrics: BTreeMap::from([(
                run_metrics::IMAGES_PER_SECOND.to_owned(),
                count as f64 / seconds.max(1e-9),
            )]),
        })
    }
}

impl Worker for SamplerWorker {
    fn service(&self) -> Service {
        Service::Sampler
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
        match &context.job().spec {
            JobSpec::Sample(params) => self.sample(context, params),
            JobSpec::SampleSet(params) => merge(context, params),
            other => Err(JobError::wrong_kind(Service::Sampler, other.kind())),
        }
    }
}

/// Fetches weights and prior of a job and builds its sampler on `device`.
fn load(context: &JobContext, params: &SampleParams, device: Device) -> Result<Sampler, JobError> {
    let SampleInputs { weights, condition } = context.inputs::<SampleParams>()?;
    let (network, parameters) = network(context, weights, device)?;
    let prior = condition
        .map(|condition| prior(context, condition))
        .transpose()?;
    let labels = label_distribution(params.sampler.labels, network.architecture.label_dim, prior)?;
    Ok(Sampler::new(
        network,
        &parameters,
        params.sampler.clone(),
        labels,
        device,
    )?)
}

/// The network of a training segment, with its EMA weights.
fn network(
    context: &JobContext,
    manifest: &Manifest,
    device: Device,
) -> Result<(Network, Parameters), JobError> {
    let (params, _) = manifest
        .as_kind::<TrainParams>()
        .map_err(JobError::contract)?;
    let network = Architecture::try_from(&params.network).and_then(Network::new)?;
    let tensors = tensor_files::read(&context.fetch_output(manifest, EMA)?)?;
    let origin = format!("{EMA} of train job {}", manifest.key.short());
    let parameters =
        Parameters::from_tensors(&network.layout, &tensors, &origin, Kind::Float, device)?;
    Ok((network, parameters))
}

fn prior(context: &JobContext, condition: &Manifest) -> Result<Prior, JobError> {
    Ok(Prior::read(&context.fetch_output(condition, ASSIGNMENTS)?)?)
}

/// Lists the shards as one set.
fn merge(context: &JobContext, params: &SampleSetParams) -> Result<Outcome, JobError> {
    let SampleSetInputs { shards } = context.inputs::<SampleSetParams>()?;
    let result = merged(&shards, params).map_err(JobError::reject)?;
    context.check(result.shards.iter().map(|shard| &shard.object))?;
    Ok(Outcome {
        result: JobResult::SampleSet(result),
        metrics: BTreeMap::new(),
    })
}

/// The shards in order, after a check that their seeds leave no gap and their images have one
/// shape.
fn merged(inputs: &[&Manifest], params: &SampleSetParams) -> anyhow::Result<SampleSetResult> {
    let mut shards: Vec<ShardRef> = Vec::new();
    let mut shape = None;
    let mut next = 0;
    for (index, manifest) in inputs.iter().enumerate() {
        let listed = listed(index, manifest)?;
        ensure!(
            listed.first_seed == params.first_seed + next,
            "shard {index} starts at seed {}, expected {}",
            listed.first_seed,
            params.first_seed + next
        );
        let (channels, resolution) = (listed.channels, listed.resolution);
        let first_shape = *shape.get_or_insert((channels, resolution));
        ensure!(
            first_shape == (channels, resolution),
            "shard {index} holds {channels}×{resolution}×{resolution} images, the shards before it \
             {}×{}×{}",
            first_shape.0,
            first_shape.1,
            first_shape.1
        );
        shards.extend(listed.shards.into_iter().map(|shard| ShardRef {
            first: next + shard.first,
            ..shard
        }));
        next += listed.count;
    }
    ensure!(
        next == params.count,
        "the shards hold {next} images, the set has {}",
        params.count
    );
    let (channels, resolution) = shape.context("the set has no shards")?;
    Ok(SampleSetResult {
        count: next,
        channels,
        resolution,
        first_seed: params.first_seed,
        shards,
    })
}

/// An input of a merge as a set of its own: one shard, or a part that was merged before.
fn listed(index: usize, manifest: &Manifest) -> anyhow::Result<SampleSetResult> {
    if let JobResult::SampleSet(part) = &manifest.result {
        return Ok(part.clone());
    }
    let (_, shard) = manifest.as_kind::<SampleParams>()?;
    let output = manifest
        .output(IMAGES)
        .with_context(|| format!("shard {index} has no output {IMAGES}"))?;
    Ok(SampleSetResult {
        count: shard.count,
        channels: shard.channels,
        resolution: shard.resolution,
        first_seed: shard.first_seed,
        shards: vec![ShardRef {
            object: output.object.clone(),
            first: 0,
            count: shard.count,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_contract::{
        Attempt, Digest, Hints, Job, ObjectRef, Output, Priority, kinds::sample::SamplerParams,
    };

    fn shard(first_seed: u64, count: u32) -> Manifest {
        let spec = JobSpec::Sample(SampleParams {
            sampler: SamplerParams::default(),
            first_seed,
            count,
        });
        let job = Job::new(spec, vec![], Priority::P1, Hints::default());
        let object = ObjectRef {
            object: format!("object/{first_seed}"),
            size: 1,
            digest: Digest::of(&first_seed.to_le_bytes()),
        };
        let outputs = vec![Output::new(IMAGES, object)];
        let result = JobResult::Sample(SampleResult {
            count: count.into(),
            first_seed,
            channels: 1,
            resolution: 8,
        });
        Manifest::of(job, Attempt::new(0, 1), outputs, result)
    }

    #[test]
    fn a_set_has_no_gaps() {
        let (a, b) = (shard(100, 64), shard(164, 10));
        let inputs = [&a, &b];
        let set = merged(
            &inputs,
            &SampleSetParams {
                first_seed: 100,
                count: 74,
            },
        )
        .unwrap();
        assert_eq!((set.count, set.channels, set.resolution), (74, 1, 8));
        assert_eq!((set.shards[1].first, set.shards[1].count), (64, 10));
        assert_eq!(set.shards[1].object.object, "object/164");
        let says = |inputs: &[&Manifest], count| {
            merged(
                inputs,
                &SampleSetParams {
                    first_seed: 100,
                    count,
                },
            )
            .unwrap_err()
            .to_string()
        };
        assert!(says(&inputs[1..], 74).contains("starts at seed 164, expected 100"));
        assert!(says(&inputs, 80).contains("hold 74 images, the set has 80"));
    }
}

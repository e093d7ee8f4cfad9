//! The two recipes of the sampler: one shard of images, and the list of all shards of a set.

use crate::labels::{Prior, label_distribution};
use anyhow::{Context, anyhow, ensure};
use cedm_contract::{
    JobResult, JobSpec, Manifest, SampleSetResult, Service, ShardRef,
    params::{Precision, SampleParams, SampleSetParams},
};
use cedm_diffusion::{
    Architecture, DiffusionError, Network, Parameters, sampler::Sampler, weights,
};
use cedm_runtime::{JobContext, JobError, Monitor, Outcome, Stability, Worker};
use std::{collections::BTreeMap, time::Instant};
use tch::Kind;

const IMAGES: &str = "images.safetensors";

/// The sampler service.
#[derive(Debug)]
pub struct SamplerWorker {
    /// The sampler of the last job: shards of a set differ in seeds alone.
    loaded: Option<(String, Sampler)>,
}

impl SamplerWorker {
    /// Starts libtorch.
    pub fn new() -> Self {
        let started = cedm_torch::start();
        tracing::info!(device = ?started.device, reason = started.reason, "libtorch");
        Self { loaded: None }
    }

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
            self.loaded = Some((key, load(context, params)?));
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
        cedm_torch::allow_tf32(params.sampler.precision == Precision::Tf32);
        let sampler = self.sampler(context, params)?;
        let begun = Instant::now();
        let mut told = 0;
        let mut progress = |done: u64| {
            context.count("cedm_sample_images_total", done - told);
            told = done;
            context.gauge(
                "cedm_sample_images_per_second",
                done as f64 / begun.elapsed().as_secs_f64().max(1e-9),
            );
            context.progress(done, count, "images");
            !context.stopping()
        };
        // A shard is small: what was begun is begun again by another worker.
        let Some(samples) = sampler
            .images(first, count, &mut progress)
            .map_err(failed)?
        else {
            return Err(JobError::Drained);
        };
        let seconds = begun.elapsed().as_secs_f64();
        let file = context.scratch().join(IMAGES);
        let tensors = [
            ("images", &samples.images),
            ("labels", &samples.labels),
            ("seeds", &samples.seeds),
        ];
        weights::write(&file, &tensors, None).map_err(failed)?;
        context.put(IMAGES, &file, Stability::Stable)?;
        let (channels, side) = sampler.shape();
        let result = JobResult::Sample {
            count,
            first_seed: first,
            channels: channels as u32,
            resolution: side as u32,
        };
        Ok(Outcome {
            result,
            metrics: BTreeMap::from([(
                "images_per_second".to_owned(),
                count as f64 / seconds.max(1e-9),
            )]),
        })
    }
}

impl Default for SamplerWorker {
    fn default() -> Self {
        Self::new()
    }
}

impl Worker for SamplerWorker {
    fn service(&self) -> Service {
        Service::Sampler
    }
    fn device(&self) -> String {
        cedm_torch::device_name()
    }
    fn gauges(&self) -> Vec<(&'static str, &'static str)> {
        vec![(
            "cedm_sample_images_per_second",
            "Images per second of the shard in hand",
        )]
    }
    fn counters(&self) -> Vec<(&'static str, &'static str)> {
        vec![("cedm_sample_images_total", "Images sampled")]
    }
    fn perform(&mut self, context: &JobContext) -> Result<Outcome, JobError> {
        match &context.job().spec {
            JobSpec::Sample(params) => self.sample(context, params),
            JobSpec::SampleSet(params) => merge(context, params),
            other => Err(JobError::bug(anyhow!(
                "a {} job came to the sampler",
                other.kind()
            ))),
        }
    }
}

fn failed(error: DiffusionError) -> JobError {
    match error {
        DiffusionError::File { .. } | DiffusionError::OutOfMemory { .. } => JobError::retry(error),
        DiffusionError::Torch(_) => JobError::bug(error),
        _ => JobError::reject(error),
    }
}

fn load(context: &JobContext, params: &SampleParams) -> Result<Sampler, JobError> {
    let device = cedm_torch::device();
    let (network, parameters) = network(context, context.input("weights")?)?;
    let prior = context
        .optional("condition")
        .map(|condition| prior(context, condition))
        .transpose()?;
    let labels =
        label_distribution(params.sampler.labels, network.architecture.label_dim, prior)
            .map_err(failed)?;
    let sampler = Sampler::new(network, &parameters, params.sampler.clone(), labels, device)
        .map_err(failed)?;
    match context.optional("guide") {
        None => Ok(sampler),
        Some(guide) => {
            let (network, parameters) = self::network(context, guide)?;
            sampler.guided_by(network, &parameters).map_err(failed)
        }
    }
}

/// The network of a training segment, with its EMA weights.
fn network(context: &JobContext, manifest: &Manifest) -> Result<(Network, Parameters), JobError> {
    let JobSpec::Train(params) = &manifest.spec else {
        return Err(JobError::reject(anyhow!(
            "weights come from a {} manifest, expected train",
            manifest.kind()
        )));
    };
    let network = Architecture::try_from(&params.network)
        .and_then(Network::new)
        .map_err(failed)?;
    let tensors =
        weights::read(&context.fetch_output(manifest, "ema.safetensors")?).map_err(failed)?;
    let origin = format!("ema.safetensors of train job {}", manifest.key.short());
    let parameters = Parameters::from_tensors(
        &network.layout,
        &tensors,
        &origin,
        Kind::Float,
        cedm_torch::device(),
    )
    .map_err(failed)?;
    Ok((network, parameters))
}

fn prior(context: &JobContext, condition: &Manifest) -> Result<Prior, JobError> {
    Prior::read(&context.fetch_output(condition, "assignments.safetensors")?)
        .map_err(JobError::reject)
}

/// The shards in order, without gap, as one set.
fn merge(context: &JobContext, params: &SampleSetParams) -> Result<Outcome, JobError> {
    let result = merged(&context.inputs("shard/"), params).map_err(JobError::reject)?;
    Ok(Outcome {
        result: JobResult::SampleSet(result),
        metrics: BTreeMap::new(),
    })
}

fn merged(
    inputs: &[(&str, &Manifest)],
    params: &SampleSetParams,
) -> anyhow::Result<SampleSetResult> {
    let mut shards: Vec<ShardRef> = Vec::new();
    let mut shape = None;
    let mut next = 0;
    for (role, manifest) in inputs {
        let JobResult::Sample {
            count,
            first_seed,
            channels,
            resolution,
        } = &manifest.result
        else {
            return Err(anyhow!(
                "{role} is a {} manifest, expected sample",
                manifest.kind()
            ));
        };
        ensure!(
            *first_seed == params.first_seed + next,
            "{role} starts at seed {first_seed}, expected {}",
            params.first_seed + next
        );
        let (channels, resolution) = (*channels, *resolution);
        let first_shape = *shape.get_or_insert((channels, resolution));
        ensure!(
            first_shape == (channels, resolution),
            "{role} holds {channels}×{resolution}×{resolution} images, the ones before it \
             {first_shape:?}"
        );
        let output = manifest
            .output(IMAGES)
            .with_context(|| format!("{role} has no output {IMAGES}"))?;
        shards.push(ShardRef {
            object: output.object.clone(),
            first: next,
            count: *count,
        });
        next += count;
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

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_contract::{
        Attempt, Digest, Hints, Job, ObjectRef, Output, Priority, SCHEMA_VERSION, Software,
        Timings, params::SamplerParams,
    };

    fn shard(first_seed: u64, count: u32) -> Manifest {
        let spec = JobSpec::Sample(SampleParams {
            sampler: SamplerParams::default(),
            first_seed,
            count,
        });
        let job = Job::new(spec.clone(), vec![], Priority::P1, Hints::default());
        let object = ObjectRef {
            object: format!("object/{first_seed}"),
            size: 1,
            digest: Digest::of(&first_seed.to_le_bytes()),
        };
        let outputs = vec![Output {
            name: IMAGES.into(),
            object,
            volatile: false,
        }];
        let result = JobResult::Sample {
            count: count.into(),
            first_seed,
            channels: 1,
            resolution: 8,
        };
        Manifest {
            schema: SCHEMA_VERSION,
            key: job.key,
            attempt: Attempt::new(0, 1),
            spec,
            inputs: vec![],
            digest: Manifest::digest_of(&outputs, &result),
            outputs,
            result,
            metrics: BTreeMap::new(),
            timings: Timings::default(),
            software: Software::default(),
        }
    }

    #[test]
    fn a_set_has_no_gaps() {
        let (a, b) = (shard(100, 64), shard(164, 10));
        let inputs = [("shard/00000", &a), ("shard/00001", &b)];
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
        let says = |inputs: &[(&str, &Manifest)], count| {
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

//! The `train` job: reads images, a condition and the previous segment's state; writes weights,
//! state and curve.

use crate::{metrics, pictures::Pictures, segment::Segment};
use anyhow::anyhow;
use cedm_contract::{
    Digest, JobResult, JobSpec, Manifest, Precision, Service,
    kinds::{
        cluster::{ASSIGNMENTS, ClusterParams, assignments::IDS},
        import::ImportParams,
        train::{CURVE, EMA, STATE, TrainInputs, TrainParams, TrainResult},
    },
    run_metrics,
};
use cedm_diffusion::{Condition, Recipe, Training};
use cedm_runtime::{
    ComputeDevice, JobContext, JobError, Outcome, Worker, metrics::MetricDefinition,
};
use cedm_tensor_files::TensorFile;
use cedm_torch::{Compute, DeviceError, Tf32};
use std::collections::BTreeMap;

/// Performs `train` jobs; keeps the images of the last one, which the next job of a sweep often
/// trains on too.
#[derive(Debug)]
pub struct TrainerWorker {
    compute: Compute,
    /// Digest of the images' manifest, and the images.
    loaded: Option<(String, Pictures)>,
}

impl TrainerWorker {
    /// A worker without images; starts libtorch.
    ///
    /// # Errors
    /// When the device that the environment asks for cannot be had.
    pub fn start() -> Result<Self, DeviceError> {
        let compute = cedm_torch::start()?;
        cedm_torch::start_training(&compute);
        Ok(Self {
            compute,
            loaded: None,
        })
    }

    /// The images of a manifest, on the CPU; fetched unless the last job left them loaded.
    fn pictures(
        &mut self,
        context: &JobContext,
        manifest: &Manifest,
    ) -> Result<&Pictures, JobError> {
        if self
            .loaded
            .as_ref()
            .is_none_or(|(digest, _)| digest != manifest.digest.as_str())
        {
            let (_, set) = manifest
                .as_kind::<ImportParams>()
                .map_err(JobError::contract)?;
            let mut shards = Vec::new();
            for shard in &set.shards {
                shards.push(cedm_images::read_shard(&context.fetch(&shard.object)?)?);
            }
            self.loaded = Some((
                manifest.digest.to_string(),
                Pictures::join(shards).map_err(JobError::reject)?,
            ));
        }
        Ok(&self.loaded.as_ref().expect("invariant: set above").1)
    }
}

impl Worker for TrainerWorker {
    fn service(&self) -> Service {
        Service::Trainer
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
        let JobSpec::Train(params) = &context.job().spec else {
            return Err(JobError::wrong_kind(Service::Trainer, context.job().kind()));
        };
        let mut segment = Segment::new(params.from_nimg, params.to_nimg, params.optimiser.batch)?;
        let _tf32 = Tf32::set(params.precision == Precision::Tf32);
        let TrainInputs {
            images,
            condition,
            previous,
        } = context.inputs::<TrainParams>()?;
        let condition = condition_of(context, images, condition)?;
        let device = self.compute.device;
        let pictures = self.pictures(context, images)?;
        let mut training = Training::new(recipe(params), &pictures.images, condition, device)?;
        continue_training(context, params, previous, &mut training)?;
        let finished = segment.train(&mut training, context, context.scratch())?;

        let (ema, state) = (context.scratch().join(EMA), context.scratch().join(STATE));
        training.save_ema(&ema)?;
        training.save_state(&state)?;
        context.put(EMA, &ema)?;
        context.put(STATE, &state)?;
        context.put_bytes(CURVE, finished.curve.to_json().to_string().as_bytes())?;
        let result = TrainResult {
            nimg: training.nimg(),
            steps: training.steps(),
            label_dim: params.network.label_dim,
            parameters: training.parameter_count(),
            loss: finished.loss,
        };
        let metrics = BTreeMap::from([
            (
                run_metrics::IMAGES_PER_SECOND.to_owned(),
                finished.images as f64 / finished.seconds.max(1e-9),
            ),
            (
                run_metrics::IMAGES_IN_THIS_PROCESS.to_owned(),
                finished.images as f64,
            ),
            (
                run_metrics::IMAGES_AT_ONCE.to_owned(),
                f64::from(training.images_at_once()),
            ),
            (
                run_metrics::RESIDENT_BYTES.to_owned(),
                cedm_runtime::resident_bytes() as f64,
            ),
            (
                run_metrics::DEVICE_BYTES.to_owned(),
                cedm_torch::device_bytes(device).unwrap_or(0) as f64,
            ),
        ]);
        Ok(Outcome {
            result: JobResult::Train(result),
            metrics,
        })
    }
}

fn recipe(params: &TrainParams) -> Recipe {
    Recipe {
        network: params.network.clone(),
        optimiser: params.optimiser.clone(),
        augment: params.augment.clone(),
        precision: params.precision,
        seed: params.seed,
    }
}

/// The condition of the job: the ids of a clustering of the same images, renumbered without gaps.
fn condition_of(
    context: &JobContext,
    images: &Manifest,
    condition: Option<&Manifest>,
) -> Result<Condition, JobError> {
    let Some(manifest) = condition else {
        return Ok(Condition::None);
    };
    check_same_images(&images.digest, manifest).map_err(JobError::reject)?;
    let file = context.fetch_output(manifest, ASSIGNMENTS)?;
    let ids = TensorFile::open(&file).and_then(|file| file.values::<i64>(IDS.name))?;
    Ok(Condition::compact(&ids)?)
}

/// A clustering must name its images, and they must be the ones of this job.
fn check_same_images(own: &Digest, condition: &Manifest) -> anyhow::Result<()> {
    let clustered = &condition.inputs_of::<ClusterParams>()?.images.digest;
    anyhow::ensure!(
        clustered == own,
        "the condition was made from other images: digest {}, the images of this job have {}",
        clustered.short(),
        own.short()
    );
    Ok(())
}

/// Loads the state of the previous segment, unless this is the first one.
fn continue_training(
    context: &JobContext,
    params: &TrainParams,
    previous: Option<&Manifest>,
    training: &mut Training,
) -> Result<(), JobError> {
    let previous = match (previous, params.from_nimg) {
        (None, 0) => return Ok(()),
        (None, from) => {
            return Err(JobError::reject(anyhow!(
                "the segment starts at image {from}, but the job names no previous segment"
            )));
        }
        (Some(previous), _) => previous,
    };
    training.load_state(&context.fetch_output(previous, STATE)?)?;
    if training.nimg() != params.from_nimg {
        let (found, expected) = (training.nimg(), params.from_nimg);
        return Err(JobError::reject(anyhow!(
            "the previous segment ends at image {found}, this one starts at {expected}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_contract::{
        Attempt, Hints, Input, Job, JobKey, Priority,
        kinds::{cluster::ClusterMethod, fit::FitResult},
    };
    use cedm_sweep::preset;

    fn made_from(images: Option<&Digest>) -> Manifest {
        let params = ClusterParams {
            method: ClusterMethod::GroundTruth { coarse: false },
            clusters: 1,
            seed: 0,
        };
        let inputs = images.map(|digest| Input {
            role: "images".into(),
            key: JobKey::of(b"images"),
            digest: digest.clone(),
        });
        let job = Job::new(
            params.into(),
            inputs.into_iter().collect(),
            Priority::P1,
            Hints::default(),
        );
        // Only the inputs it was made from are checked.
        let result = JobResult::Fit(FitResult { dim: 1 });
        Manifest::of(job, Attempt::new(0, 1), vec![], result)
    }

    #[test]
    fn a_condition_of_other_images_is_rejected() {
        let (own, other) = (Digest::of(b"own"), Digest::of(b"other"));
        assert!(check_same_images(&own, &made_from(Some(&own))).is_ok());
        let says = |images| {
            let error = check_same_images(&own, &made_from(images)).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            says(None),
            "input `images` of a cluster job: found none, expected one"
        );
        let expected = format!(
            "made from other images: digest {}, the images of this job have {}",
            other.short(),
            own.short()
        );
        assert!(says(Some(&other)).contains(&expected));
    }

    #[test]
    fn the_arithmetic_is_part_of_the_recipe() {
        let preset = preset("tiny8").unwrap();
        let params = TrainParams {
            network: preset.network,
            optimiser: preset.optimiser,
            augment: preset.augment,
            precision: Precision::Tf32,
            seed: 7,
            from_nimg: 0,
            to_nimg: 32,
        };
        assert_eq!(
            (recipe(&params).precision, recipe(&params).seed),
            (Precision::Tf32, 7)
        );
    }
}

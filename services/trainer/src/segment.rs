//! The training loop of one segment: optimiser steps, ticks, checkpoints, and the end at a request
//! to stop.

use crate::{
    curve::{Curve, Tick},
    metrics,
};
use anyhow::anyhow;
use cedm_diffusion::{DiffusionError, Step, Training};
use cedm_runtime::{JobError, Monitor};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use tch::{Device, Tensor};

/// Smallest number of ticks of a segment, the points of its curve.
const TICKS: u64 = 50;
/// Largest number of images between two ticks: 50 kimg, EDM's own default (spec §7.5).
const TICK_IMAGES: u64 = 50_000;
/// Number of images whose indices an error names.
const NAMED_IMAGES: usize = 8;

/// One segment of a run: from the state of `training`, or its newest checkpoint, to `to_nimg`
/// images.
#[derive(Debug)]
pub struct Segment {
    from_nimg: u64,
    to_nimg: u64,
    tick_steps: u64,
    last_good: String,
    curve_file: Option<PathBuf>,
}

/// The numbers of a finished segment; its weights are in the [`Training`].
#[derive(Debug)]
pub struct Finished {
    /// The ticks of the segment.
    pub curve: Curve,
    /// Mean loss per pixel over the last tick.
    pub loss: Option<f64>,
    /// Time that this process trained, in seconds.
    pub seconds: f64,
    /// Images that this process trained on; fewer than the segment's after a resume.
    pub images: u64,
}

impl Segment {
    /// A segment from image `from_nimg` to image `to_nimg` of the run.
    ///
    /// # Errors
    /// `Reject` for an empty budget, or bounds that are not multiples of the batch.
    pub fn new(from_nimg: u64, to_nimg: u64, batch: u32) -> Result<Self, JobError> {
        let batch = u64::from(batch.max(1));
        if to_nimg <= from_nimg {
            return Err(JobError::reject(anyhow!(
                "the budget is empty: from image {from_nimg} to image {to_nimg}, expected at \
                 least one batch of {batch}"
            )));
        }
        if !from_nimg.is_multiple_of(batch) || !to_nimg.is_multiple_of(batch) {
            let below = to_nimg / batch * batch;
            return Err(JobError::reject(anyhow!(
                "images {from_nimg} to {to_nimg} are not a whole number of batches of {batch}: the \
                 nearest ends are {below} and {}",
                below + batch
            )));
        }
        let tick_steps = ((to_nimg - from_nimg) / batch / TICKS)
            .min(TICK_IMAGES / batch)
            .max(1);
        Ok(Self {
            from_nimg,
            to_nimg,
            tick_steps,
            last_good: format!("the start of the segment, at image {from_nimg}"),
            curve_file: None,
        })
    }

    /// The same segment, which also writes the curve so far to this file with every checkpoint.
    #[must_use]
    pub fn with_curve(mut self, file: PathBuf) -> Self {
        self.curve_file = Some(file);
        self
    }

    /// Trains to the end of the segment.
    ///
    /// # Errors
    /// `Drained` after a checkpoint if the monitor requests a stop; `Reject` naming step and images
    /// if the loss is not finite.
    pub fn train(
        &mut self,
        training: &mut Training,
        monitor: &dyn Monitor,
        scratch: &Path,
    ) -> Result<Finished, JobError> {
        let mut curve = Curve::default();
        let batch = u64::from(training.recipe.optimiser.batch);
        // A checkpoint at or before the segment's start belongs to the previous segment: a crash
        // between that segment's end and the removal of its checkpoints left it behind.
        if let Some((step, file)) = monitor
            .resume()?
            .filter(|(step, _)| step * batch > self.from_nimg)
        {
            if step * batch > self.to_nimg {
                // Only this program writes checkpoints of this job.
                return Err(JobError::bug(anyhow!(
                    "the checkpoint of step {step} is at image {}, beyond the end at image {}",
                    step * batch,
                    self.to_nimg
                )));
            }
            let kept = training.load_state(&file)?;
            curve = kept.map_or_else(Curve::default, |kept| Curve::from_tensor(&kept));
            self.last_good = format!("checkpoint of step {step}");
            tracing::info!(step, nimg = training.nimg(), "resuming from a checkpoint");
        }
        let (started, started_at) = (Instant::now(), training.nimg());
        let (mut tick_started, mut tick_started_at) = (started, started_at);
        let mut pending: Vec<Tensor> = Vec::new();
        let mut at_once = training.images_at_once();
        monitor.gauge(&metrics::IMAGES_AT_ONCE, f64::from(at_once));
        let mut loss = curve.ticks.last().map(|tick| tick.loss);
        while training.nimg() < self.to_nimg {
            let Step {
                loss: step_loss,
                gradient_norm,
                lr,
                ..
            } = training.step()?;
            if training.images_at_once() != at_once {
                at_once = training.images_at_once();
                say_smaller(monitor, training.recipe.optimiser.micro_batch, at_once);
            }
            pending.push(step_loss);
            monitor.count(&metrics::IMAGES, batch);
            monitor.count(&metrics::STEPS, 1);
            monitor.progress(
                training.nimg() - self.from_nimg,
                self.to_nimg - self.from_nimg,
                "images",
            );
            let steps_done = (training.nimg() - self.from_nimg) / batch;
            let is_end = training.nimg() >= self.to_nimg;
            let is_tick = steps_done.is_multiple_of(self.tick_steps) || is_end;
            let (save, stop) = (
                !is_end && monitor.checkpoint_due(),
                !is_end && monitor.stopping(),
            );
            // Reading a loss waits for the device. On a CPU that costs nothing, so a NaN is found
            // at once; on a GPU losses are read once a tick.
            if training.device() == Device::Cpu || is_tick || save || stop {
                self.read_losses(training, &mut pending)?;
            }
            if is_tick {
                let (sum, steps) = std::mem::replace(&mut training.tick, (0.0, 0));
                let seconds = tick_started.elapsed().as_secs_f64().max(1e-9);
                let tick = Tick {
                    kimg: training.nimg() as f64 / 1000.0,
                    loss: sum / steps as f64,
                    gradient_norm: gradient_norm.double_value(&[]),
                    lr,
                    images_per_second: (training.nimg() - tick_started_at) as f64 / seconds,
                    resident_bytes: cedm_runtime::resident_bytes() as f64,
                    device_bytes: cedm_torch::device_bytes(training.device()).unwrap_or(0) as f64,
                };
                publish(monitor, &tick);
                loss = Some(tick.loss);
                curve.ticks.push(tick);
                (tick_started, tick_started_at) = (Instant::now(), training.nimg());
            }
            if save || stop {
                self.checkpoint(training, &curve, monitor, scratch)?;
            }
            if stop {
                return Err(JobError::Drained);
            }
        }
        Ok(Finished {
            curve,
            loss,
            seconds: started.elapsed().as_secs_f64(),
            images: training.nimg() - started_at,
        })
    }

    /// Writes a checkpoint of training and curve and has the monitor store it.
    fn checkpoint(
        &mut self,
        training: &Training,
        curve: &Curve,
        monitor: &dyn Monitor,
        scratch: &Path,
    ) -> Result<(), JobError> {
        let file = scratch.join("checkpoint.safetensors");
        training.save_checkpoint(&file, &curve.to_tensor())?;
        monitor.checkpoint(training.steps(), &file)?;
        std::fs::remove_file(&file).map_err(JobError::retry)?;
        self.last_good = format!("checkpoint of step {}", training.steps());
        if let Some(file) = &self.curve_file {
            curve.write(file).map_err(JobError::retry)?;
        }
        Ok(())
    }

    /// Adds the losses of the steps since the last reading to the tick, after a check that they are
    /// finite.
    fn read_losses(
        &self,
        training: &mut Training,
        pending: &mut Vec<Tensor>,
    ) -> Result<(), JobError> {
        let losses = Tensor::stack(&std::mem::take(pending), 0).to_device(Device::Cpu);
        let losses = Vec::<f64>::try_from(losses).map_err(JobError::bug)?;
        let batch = u64::from(training.recipe.optimiser.batch);
        let first_step = training.steps() - losses.len() as u64;
        for (step, loss) in (first_step..).zip(losses) {
            if !loss.is_finite() {
                let mut indices = training.indices_of(step);
                indices.truncate(NAMED_IMAGES);
                return Err(DiffusionError::Loss {
                    loss,
                    step,
                    first_image: step * batch,
                    last_image: (step + 1) * batch,
                    seed: training.recipe.seed,
                    indices,
                    last_good: self.last_good.clone(),
                }
                .into());
            }
            training.tick.0 += loss;
            training.tick.1 += 1;
        }
        Ok(())
    }
}

/// Says that micro-batches are computed in parts from now on.
fn say_smaller(monitor: &dyn Monitor, micro_batch: u32, at_once: u32) {
    let note = format!(
        "a micro-batch of {micro_batch} does not fit into memory: {at_once} images at once; results \
         differ by rounding alone"
    );
    monitor.gauge(&metrics::IMAGES_AT_ONCE, f64::from(at_once));
    monitor.note(&note);
    tracing::warn!(micro_batch, at_once, "{note}");
}

/// Reports a tick as metrics, progress note and log line.
fn publish(monitor: &dyn Monitor, tick: &Tick) {
    for (gauge, value) in [
        (&metrics::LOSS, tick.loss),
        (&metrics::GRADIENT_NORM, tick.gradient_norm),
        (&metrics::LEARNING_RATE, tick.lr),
        (&metrics::IMAGES_PER_SECOND, tick.images_per_second),
        (&metrics::RESIDENT_BYTES, tick.resident_bytes),
        (&metrics::DEVICE_BYTES, tick.device_bytes),
    ] {
        monitor.gauge(gauge, value);
    }
    monitor.note(&format!(
        "{:.1} kimg: loss {:.4}, gradient norm {:.2}, learning rate {:.1e}, {:.1} images/s",
        tick.kimg, tick.loss, tick.gradient_norm, tick.lr, tick.images_per_second
    ));
    tracing::info!(
        kimg = tick.kimg,
        loss = tick.loss,
        images_per_second = tick.images_per_second,
        "tick"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_at_least_one_whole_batch() {
        let says = |from, to| Segment::new(from, to, 32).unwrap_err().to_string();
        assert!(says(0, 0).contains(
            "the budget is empty: from image 0 to image 0, expected at least one batch of 32"
        ));
        assert!(says(64, 32).contains("the budget is empty"));
        assert!(
            says(0, 100)
                .contains("not a whole number of batches of 32: the nearest ends are 96 and 128")
        );
        assert_eq!(Segment::new(0, 3200, 32).unwrap().tick_steps, 2);
        assert_eq!(
            Segment::new(0, 100_000 * 1024, 1024).unwrap().tick_steps,
            48
        );
    }
}

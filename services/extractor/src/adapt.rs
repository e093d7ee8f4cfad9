//! The `adapt` job and command: a DINO training with progress, metrics and checkpoints.

mod command;

pub use command::AdaptArgs;

use crate::metrics::{ADAPT_LEARNING_RATE, ADAPT_LOSS, ADAPT_SPREAD, ADAPTED};
use cedm_contract::kinds::adapt::AdaptResult;
use cedm_dino::Training;
use cedm_runtime::{JobError, Monitor};
use std::path::Path;

/// Steps `training` to its end, from the monitor's checkpoint where there is one. Checkpoints
/// are written into the folder `scratch` before the monitor stores them.
///
/// # Errors
/// `Drained` when the process is stopping, `Reject` when the loss is not finite, `Retry` when a
/// checkpoint cannot be read or written, `Bug` when a checkpoint does not fit this training.
pub fn adapt(
    training: &mut Training,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<AdaptResult, JobError> {
    if let Some((_, file)) = monitor.resume()? {
        training.restore(&file)?;
    }
    while !training.finished() {
        let stopping = monitor.stopping();
        if stopping || monitor.checkpoint_due() {
            let file = scratch.join("adapt.safetensors");
            training.save(&file)?;
            monitor.checkpoint(training.steps_done(), &file)?;
        }
        if stopping {
            return Err(JobError::Drained);
        }
        let report = training.step()?;
        monitor.progress(training.steps_done(), training.steps(), "steps");
        monitor.count(&ADAPTED, training.batch().into());
        monitor.gauge(&ADAPT_LOSS, report.loss);
        monitor.gauge(&ADAPT_SPREAD, report.spread);
        monitor.gauge(&ADAPT_LEARNING_RATE, report.learning_rate);
    }
    Ok(AdaptResult {
        steps: training.steps_done(),
        dim: training.config().dim as u32,
        loss: training.recent_loss(),
        spread: training.spread(),
    })
}

/// Loss and learning rate of each epoch as JSON, for people.
pub fn curve(training: &Training) -> serde_json::Value {
    training
        .curve()
        .iter()
        .map(|epoch| {
            serde_json::json!({
                "epoch": epoch.epoch,
                "loss": epoch.loss,
                "learning_rate": epoch.learning_rate,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;

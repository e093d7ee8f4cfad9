//! DINO training: adapts a backbone to an image set without labels, or trains a small one from
//! nothing (spec §12).
//!
//! Everything random is derived from the seed and the step, so that a run that was stopped at a
//! checkpoint ends with the same bits as one that was not (on the CPU).

mod album;
mod crops;
mod fresh;
mod run;
mod schedule;
mod state;
mod views;

pub use album::Album;
pub use run::AdaptArgs;
pub use schedule::{Moment, moment};
pub use state::AdaptState;

use anyhow::{Result, anyhow, ensure};
use cedm_contract::kinds::adapt::{AdaptResult, DinoParams};
use cedm_nets::vit::VitConfig;
use cedm_runtime::{JobError, Monitor};
use crops::stream;
use rand::seq::SliceRandom;
use std::path::Path;
use views::{Views, views};

/// Trains on `images` and leaves the teacher in `state`; goes on at the monitor's checkpoint where
/// there is one.
///
/// # Errors
/// `Reject` for impossible parameters or a loss that is not finite, `Drained` when the process is
/// stopping.
pub fn adapt(
    params: &DinoParams,
    images: &Album,
    state: &mut AdaptState,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<AdaptResult, JobError> {
    check(params, images, state.config()).map_err(JobError::reject)?;
    let per_epoch = (images.len() as u64 / u64::from(params.batch)).max(1);
    let total = per_epoch * u64::from(params.epochs);
    if let Some((_, file)) = monitor.resume()? {
        state.restore(&file).map_err(JobError::retry)?;
    }
    while state.step < total {
        let stopping = monitor.stopping();
        if stopping || monitor.checkpoint_due() {
            let file = scratch.join("adapt.safetensors");
            state.save(&file).map_err(JobError::retry)?;
            monitor.checkpoint(state.step, &file)?;
        }
        if stopping {
            return Err(JobError::Drained);
        }
        let now = moment(params, state.step, per_epoch);
        let batch = chosen(params, images.len(), state.step, per_epoch);
        let Views { large, small } = views(params, images, &batch, state.step, state.side());
        let loss = state.learn(params, &large, small.as_ref(), now);
        if !loss.is_finite() {
            return Err(JobError::reject(anyhow!(
                "the loss is {loss} at step {}: a smaller learning rate may help",
                state.step
            )));
        }
        monitor.progress(state.step, total, "steps");
        monitor.count("cedm_adapt_images_total", u64::from(params.batch));
        monitor.gauge("cedm_adapt_loss", loss);
        monitor.gauge("cedm_adapt_spread", state.spread());
        monitor.gauge("cedm_adapt_learning_rate", now.learning_rate);
    }
    let recent = &state.losses()[state.losses().len().saturating_sub(per_epoch as usize)..];
    Ok(AdaptResult {
        steps: state.step,
        dim: state.config().dim as u32,
        loss: recent.iter().sum::<f64>() / recent.len().max(1) as f64,
        spread: state.spread(),
    })
}

/// Mean loss and last learning rate of each epoch, for people.
pub fn curve(params: &DinoParams, images: usize, state: &AdaptState) -> serde_json::Value {
    let per_epoch = (images / params.batch as usize).max(1);
    let epochs = state
        .losses()
        .chunks(per_epoch)
        .enumerate()
        .map(|(epoch, losses)| {
            let last = (epoch * per_epoch + losses.len() - 1) as u64;
            serde_json::json!({
                "epoch": epoch + 1,
                "loss": losses.iter().sum::<f64>() / losses.len() as f64,
                "learning_rate": moment(params, last, per_epoch as u64).learning_rate,
            })
        });
    epochs.collect::<Vec<_>>().into()
}

fn check(params: &DinoParams, images: &Album, config: &VitConfig) -> Result<()> {
    ensure!(
        params.batch > 0 && params.epochs > 0,
        "batch {} and epochs {}: expected at least 1",
        params.batch,
        params.epochs
    );
    ensure!(
        images.len() >= params.batch as usize,
        "{} images are less than one batch of {}",
        images.len(),
        params.batch
    );
    let patch = config.patch as u32;
    ensure!(
        params.local_crops == 0
            || (params.local_size >= patch && params.local_size.is_multiple_of(patch)),
        "local crops of {} pixels hold no whole number of patches of {patch}",
        params.local_size
    );
    let scale = |(low, high): (f64, f64)| 0.0 < low && low <= high && high <= 1.0;
    ensure!(
        scale(params.global_scale) && scale(params.local_scale),
        "crop scales {:?} and {:?}: expected shares of the image, the smaller first",
        params.global_scale,
        params.local_scale
    );
    let (hidden, bottleneck, out) = params.head;
    ensure!(
        hidden > 0 && bottleneck > 0 && out > 1,
        "a head of {hidden}, {bottleneck} and {out}: expected widths of at least 1, 1 and 2"
    );
    Ok(())
}

/// Images of a step, in the order of its epoch.
fn chosen(params: &DinoParams, images: usize, step: u64, per_epoch: u64) -> Vec<usize> {
    let (epoch, at) = (
        step / per_epoch,
        (step % per_epoch) as usize * params.batch as usize,
    );
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(&mut stream(params.seed, epoch, u64::MAX, u64::MAX));
    order[at..at + params.batch as usize].to_vec()
}

#[cfg(test)]
mod tests;

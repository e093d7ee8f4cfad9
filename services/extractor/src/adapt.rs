//! DINO training: adapts a backbone to an image set without labels, or trains a small one from nothing (spec §12).
//!
//! Everything random is derived from the seed and the step, so that a run that was stopped at a checkpoint ends with the same bits
//! as one that was not (on the CPU).

mod crops;
mod fresh;
mod params;
mod run;
mod schedule;
mod state;

pub use params::{AdaptParams, AdaptStart};
pub use run::AdaptArgs;
pub use schedule::{Moment, moment};
pub use state::AdaptState;

use anyhow::{Result, anyhow, ensure};
use cedm_images::Picture;
use cedm_nets::{preprocess::IMAGENET, vit::VitConfig};
use cedm_runtime::{JobError, Monitor};
use crops::{View, stream, view};
use rand::seq::SliceRandom;
use std::{path::Path, thread};
use tch::Tensor;

/// What became of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Adapted {
    /// Steps taken since the very start.
    pub steps: u64,
    /// Mean loss over the last epoch.
    pub loss: f64,
    /// Mean over the teacher's outputs of their standard deviation in the last batch; towards 0 when training collapses.
    pub spread: f64,
}

/// Trains on `images` and leaves the teacher in `state`; goes on at the monitor's checkpoint where there is one.
///
/// # Errors
/// `Reject` for impossible parameters or a loss that is not finite, `Drained` when the process is stopping.
pub fn adapt(
    params: &AdaptParams,
    images: &[Picture],
    state: &mut AdaptState,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<Adapted, JobError> {
    check(params, images, state.config()).map_err(JobError::reject)?;
    let per_epoch = (images.len() as u64 / u64::from(params.batch)).max(1);
    let total = per_epoch * u64::from(params.epochs);
    if let Some((_, file)) = monitor.resume()? {
        state.restore(&file).map_err(JobError::retry)?;
    }
    let (mut losses, mut spread) = (Vec::new(), 0.0);
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
        let (loss, wide) = state.learn(params, &large, small.as_ref(), now);
        if !loss.is_finite() {
            return Err(JobError::reject(anyhow!(
                "the loss is {loss} at step {}: a smaller learning rate may help",
                state.step
            )));
        }
        spread = wide;
        losses.push(loss);
        state.step += 1;
        monitor.progress(state.step, total, "steps");
        monitor.gauge("cedm_adapt_loss", loss);
    }
    let last = losses.len().saturating_sub(per_epoch as usize);
    let recent = &losses[last..];
    Ok(Adapted {
        steps: state.step,
        loss: recent.iter().sum::<f64>() / recent.len().max(1) as f64,
        spread,
    })
}

fn check(params: &AdaptParams, images: &[Picture], config: &VitConfig) -> Result<()> {
    let (patch, side) = (config.patch as u32, (config.grid * config.patch) as u32);
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
    ensure!(
        params.local_crops == 0 || params.local_size >= patch,
        "local crops of {} pixels hold no patch of {patch}",
        params.local_size
    );
    let scale = |(low, high): (f64, f64)| 0.0 < low && low <= high && high <= 1.0;
    ensure!(
        scale(params.global_scale) && scale(params.local_scale),
        "crop scales must be shares of the image, smaller first"
    );
    ensure!(
        side > 0 && images.iter().all(|image| image.channels == 3),
        "invariant: images are RGB"
    );
    Ok(())
}

/// Images of a step, in the order of its epoch.
fn chosen(params: &AdaptParams, images: usize, step: u64, per_epoch: u64) -> Vec<usize> {
    let (epoch, at) = (step / per_epoch, (step % per_epoch) as usize * params.batch as usize);
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(&mut stream(params.seed, epoch, u64::MAX, u64::MAX));
    order[at..at + params.batch as usize].to_vec()
}

/// Normalised views of one batch, view by view: the two large ones together, the small ones together.
struct Views {
    large: Tensor,
    small: Option<Tensor>,
}

/// Every view is drawn from a stream of its own, on all cores.
fn views(params: &AdaptParams, images: &[Picture], chosen: &[usize], step: u64, side: usize) -> Views {
    let local = params.local_size as usize;
    let small = (0..params.local_crops).map(|_| (View::Local, local));
    let kinds: Vec<(View, usize)> = [(View::First, side), (View::Second, side)].into_iter().chain(small).collect();
    let jobs: Vec<(usize, usize)> = (0..kinds.len())
        .flat_map(|kind| chosen.iter().map(move |image| (kind, *image)))
        .collect();
    let draw = |(kind, image): &(usize, usize)| {
        let (what, side) = kinds[*kind];
        normalised(view(
            &images[*image],
            side,
            what,
            params,
            &mut stream(params.seed, step, *image as u64, *kind as u64),
        ))
    };
    let share = jobs.len().div_ceil(thread::available_parallelism().map_or(1, usize::from));
    let drawn: Vec<Vec<f32>> = thread::scope(|scope| {
        let draw = &draw;
        let running: Vec<_> = jobs
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(draw).collect::<Vec<_>>()))
            .collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().expect("invariant: drawing views does not panic"))
            .collect()
    });
    let stack =
        |views: &[Vec<f32>], side: usize| Tensor::from_slice(&views.concat()).reshape([views.len() as i64, 3, side as i64, side as i64]);
    let (large, small) = drawn.split_at(2 * chosen.len());
    Views {
        large: stack(large, side),
        small: (!small.is_empty()).then(|| stack(small, local)),
    }
}

fn normalised(mut planes: Vec<f32>) -> Vec<f32> {
    let area = planes.len() / 3;
    for (channel, plane) in planes.chunks_exact_mut(area).enumerate() {
        plane
            .iter_mut()
            .for_each(|v| *v = (*v - IMAGENET.mean[channel]) / IMAGENET.std[channel]);
    }
    planes
}

#[cfg(test)]
mod tests;

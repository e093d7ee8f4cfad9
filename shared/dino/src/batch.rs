//! The images of one step and their views as tensors.

use crate::{
    augment::{View, augmented},
    images::ImageSource,
    random::{order_stream, view_stream},
};
use cedm_contract::kinds::adapt::DinoParams;
use cedm_nets::preprocess::IMAGENET;
use rand::seq::SliceRandom;
use std::thread;
use tch::Tensor;

/// Normalised views of one batch of B images, view by view: float32 on the CPU.
pub(crate) struct Views {
    /// \[2 · B, 3, side, side\].
    pub(crate) large: Tensor,
    /// \[local_crops · B, 3, local_size, local_size\]; none without local crops.
    pub(crate) small: Option<Tensor>,
}

/// Indices of the images of `step`. Each epoch has an order of its own, and what is left over at
/// its end is skipped.
pub(crate) fn batch_indices(
    params: &DinoParams,
    images: usize,
    step: u64,
    steps_per_epoch: u64,
) -> Vec<usize> {
    let batch = params.batch as usize;
    let first = (step % steps_per_epoch) as usize * batch;
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(&mut order_stream(params.seed, step / steps_per_epoch));
    order[first..first + batch].to_vec()
}

/// Draws the views of the images `chosen`, on all cores: each view has a random stream of its own,
/// so that the number of threads changes nothing. `side` is that of the large views.
pub(crate) fn draw_views(
    params: &DinoParams,
    images: &ImageSource,
    chosen: &[usize],
    step: u64,
    side: usize,
) -> Views {
    let local = params.local_size as usize;
    let small = (0..params.local_crops).map(|_| (View::Local, local));
    let kinds: Vec<(View, usize)> = [(View::First, side), (View::Second, side)]
        .into_iter()
        .chain(small)
        .collect();
    let jobs: Vec<(usize, usize)> = (0..kinds.len())
        .flat_map(|kind| chosen.iter().map(move |image| (kind, *image)))
        .collect();
    let draw = |(kind, image): &(usize, usize)| {
        let (view, side) = kinds[*kind];
        let stream = &mut view_stream(params.seed, step, *image as u64, *kind as u64);
        normalised(augmented(
            &images.picture(*image),
            side,
            view,
            params,
            stream,
        ))
    };
    let share = jobs
        .len()
        .div_ceil(thread::available_parallelism().map_or(1, usize::from));
    let drawn: Vec<Vec<f32>> = thread::scope(|scope| {
        let draw = &draw;
        let running: Vec<_> = jobs
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(draw).collect::<Vec<_>>()))
            .collect();
        running
            .into_iter()
            .flat_map(|thread| {
                thread
                    .join()
                    .expect("invariant: drawing views does not panic")
            })
            .collect()
    });
    let (large, small) = drawn.split_at(2 * chosen.len());
    Views {
        large: stack(large, side),
        small: (!small.is_empty()).then(|| stack(small, local)),
    }
}

/// \[views, 3, side, side\].
fn stack(views: &[Vec<f32>], side: usize) -> Tensor {
    let (count, side) = (views.len() as i64, side as i64);
    Tensor::from_slice(&views.concat()).reshape([count, 3, side, side])
}

/// Planes in units of ImageNet's deviation around its mean: what DINO's backbones were trained on.
fn normalised(mut planes: Vec<f32>) -> Vec<f32> {
    let area = planes.len() / 3;
    for (channel, plane) in planes.chunks_exact_mut(area).enumerate() {
        plane
            .iter_mut()
            .for_each(|v| *v = (*v - IMAGENET.mean[channel]) / IMAGENET.std[channel]);
    }
    planes
}

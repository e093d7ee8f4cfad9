//! The views of one batch as tensors.

use super::{
    album::Album,
    crops::{View, stream, view},
};
use cedm_contract::kinds::adapt::DinoParams;
use cedm_nets::preprocess::IMAGENET;
use std::thread;
use tch::Tensor;

/// Normalised views of one batch, view by view: the two large ones together, the small ones
/// together.
pub(super) struct Views {
    pub large: Tensor,
    pub small: Option<Tensor>,
}

/// Every view is drawn from a stream of its own, on all cores.
pub(super) fn views(
    params: &DinoParams,
    images: &Album,
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
        let (what, side) = kinds[*kind];
        normalised(view(
            &images.picture(*image),
            side,
            what,
            params,
            &mut stream(params.seed, step, *image as u64, *kind as u64),
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
    let stack = |views: &[Vec<f32>], side: usize| {
        Tensor::from_slice(&views.concat()).reshape([
            views.len() as i64,
            3,
            side as i64,
            side as i64,
        ])
    };
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

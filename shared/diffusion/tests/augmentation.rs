//! Every subset of the transforms runs on every type and number of channels, and equals its
//! transforms one by one.

#![forbid(unsafe_code)]

use cedm_diffusion::augment::{
    AugmentPipe, Augmented, Draws, Transform, TransformRanges, geometric,
};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

const IMAGES: i64 = 3;

fn pipe(on: &[Transform]) -> AugmentPipe {
    AugmentPipe {
        p: 0.8,
        multipliers: on.iter().map(|transform| (*transform, 1.0)).collect(),
        ranges: TransformRanges::default(),
    }
}

/// Draws of every transform, in the given type where they are no integers.
fn draws(seed: i64, kind: Kind) -> Draws {
    tch::manual_seed(seed);
    let mut draws = Draws::fresh(Transform::ALL.into_iter(), IMAGES, Device::Cpu);
    for tensor in draws.raw.values_mut() {
        if tensor.kind() == Kind::Float {
            *tensor = tensor.to_kind(kind);
        }
    }
    draws
}

fn images(seed: i64, channels: i64, kind: Kind) -> Tensor {
    tch::manual_seed(seed);
    Tensor::rand([IMAGES, channels, 8, 8], (Kind::Double, Device::Cpu)).to_kind(kind) * 2.0 - 1.0
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let difference = a.to_kind(Kind::Double) - b.to_kind(Kind::Double);
    difference.abs().max().double_value(&[])
}

fn is_colour(transform: Transform) -> bool {
    use Transform::{Brightness, Contrast, Hue, Lumaflip, Saturation};
    matches!(
        transform,
        Brightness | Contrast | Lumaflip | Hue | Saturation
    )
}

/// The transforms applied each on its own. Fractions of pixels are resampled once, so that the
/// matrices of single transforms are multiplied; colours act on each pixel and follow one another.
fn one_by_one(on: &[Transform], images: &Tensor, draws: &Draws) -> Augmented {
    let (mut now, mut labels, mut matrices) = (images.shallow_clone(), Vec::new(), None);
    let mut colours = Vec::new();
    for transform in on {
        let alone = pipe(&[*transform]);
        let found = alone.apply(&now, draws);
        labels.push(found.labels);
        match found.matrices {
            Some(matrix) => {
                matrices = Some(match matrices {
                    None => matrix,
                    Some(before) => matrix_product(&before, &matrix),
                });
            }
            None if is_colour(*transform) => colours.push(alone),
            None => now = found.images,
        }
    }
    if let Some(matrices) = &matrices {
        now = geometric(&now, matrices);
    }
    for colour in colours {
        now = colour.apply(&now, draws).images;
    }
    Augmented {
        images: now,
        labels: Tensor::cat(&labels, 1),
        values: Vec::new(),
        matrices,
    }
}

fn matrix_product(a: &Tensor, b: &Tensor) -> Tensor {
    a.to_kind(Kind::Double).matmul(&b.to_kind(Kind::Double))
}

fn check(on: &[Transform], seed: i64, channels: i64, kind: Kind, of_draws: Kind) {
    let (images, draws) = (images(seed, channels, kind), draws(seed + 1, of_draws));
    let whole = pipe(on).apply(&images, &draws);
    assert_eq!(whole.images.kind(), kind, "{on:?}");
    assert_eq!(whole.images.size(), images.size(), "{on:?}");
    assert_eq!(whole.labels.kind(), kind, "{on:?}");
    let parts = one_by_one(on, &images, &draws);
    assert_eq!(
        distance(&whole.labels, &parts.labels),
        0.0,
        "labels of {on:?}"
    );
    // Bounds for the rounding of products of up to five matrices and of the resampling.
    let bound = if kind == Kind::Double && of_draws == Kind::Double {
        1e-9
    } else {
        2e-3
    };
    if let (Some(whole), Some(parts)) = (&whole.matrices, &parts.matrices) {
        assert!(distance(whole, parts) < bound, "matrices of {on:?}");
    }
    // A grey image takes the mean of a matrix, which is no product of the means.
    if channels == 3 || on.iter().filter(|transform| is_colour(**transform)).count() < 2 {
        let distance = distance(&whole.images, &parts.images);
        assert!(distance < bound, "images of {on:?}: {distance}");
    }
}

#[test]
fn all_thirteen_transforms_run_on_every_type_and_number_of_channels() {
    for channels in [1, 3] {
        for kind in [Kind::Float, Kind::Double] {
            for of_draws in [Kind::Float, Kind::Double] {
                check(&Transform::ALL, 7, channels, kind, of_draws);
            }
        }
    }
}

#[test]
fn every_pair_of_transforms_is_its_two_transforms() {
    for (index, first) in Transform::ALL.into_iter().enumerate() {
        for second in &Transform::ALL[index + 1..] {
            check(&[first, *second], 11, 3, Kind::Double, Kind::Double);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_subset_is_its_transforms_one_by_one(
        bits in 1u16..1 << 13,
        seed in 0i64..1_000_000,
        grey: bool,
        single: bool,
        single_draws: bool,
    ) {
        let on = (0..13).filter(|bit| bits >> bit & 1 == 1);
        let on: Vec<Transform> = on.map(|bit| Transform::ALL[bit]).collect();
        let kind = |single| if single { Kind::Float } else { Kind::Double };
        check(&on, seed, if grey { 1 } else { 3 }, kind(single), kind(single_draws));
    }
}

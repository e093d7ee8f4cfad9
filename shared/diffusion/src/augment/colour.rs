//! Colour transforms as 4×4 matrices on homogeneous RGB. The published training settings use none
//! of them; the parity fixtures do.

use super::{Draws, Transform, TransformRanges};
use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// A colour transform's gated value \[n\], its label columns \[n\] and its matrices \[n, 4, 4\].
pub(super) fn transform(
    transform: Transform,
    draws: &Draws,
    ranges: &TransformRanges,
    gated: &dyn Fn(Transform, &Tensor, f64) -> Tensor,
) -> (Tensor, Vec<Tensor>, Tensor) {
    match transform {
        Transform::Brightness => {
            let w = gated(transform, &draws.normal(transform), 0.0);
            let b = &w * ranges.brightness_std;
            let column = Tensor::stack(&[&b, &b, &b, &b.zeros_like()], -1).unsqueeze(-1);
            let last = Tensor::from_slice(&[0.0, 0.0, 0.0, 1.0])
                .to_kind(b.kind())
                .to_device(b.device());
            let matrix = identity(&b) + column * last.view([1, 1, 4]);
            (b, vec![w], matrix)
        }
        Transform::Contrast => {
            let w = gated(transform, &draws.normal(transform), 0.0);
            let c = (&w * ranges.contrast_std).exp2();
            let matrix = diagonal(&c);
            (c, vec![w], matrix)
        }
        Transform::Lumaflip => {
            let flag = gated(transform, &draws.integer(transform), 0.0);
            let strength = flag.to_kind(Kind::Float).view([-1, 1, 1]) * 2.0;
            let matrix = identity(&strength.flatten(0, -1)) - luma(&strength) * &strength;
            (flag.shallow_clone(), vec![flag], matrix)
        }
        Transform::Hue => {
            let angle = gated(
                transform,
                &((draws.uniform(transform) * 2.0 - 1.0) * (PI * ranges.hue_max)),
                0.0,
            );
            let matrix = turn_about_luma(&angle);
            let labels = vec![angle.cos() - 1.0, angle.sin()];
            (angle, labels, matrix)
        }
        Transform::Saturation => {
            let w = gated(transform, &draws.normal(transform), 0.0);
            let s = (&w * ranges.saturation_std).exp2();
            let luma = luma(&s);
            let matrix = &luma + (identity(&s) - &luma) * s.view([-1, 1, 1]);
            (s, vec![w], matrix)
        }
        _ => unreachable!("invariant: called for colour transforms only"),
    }
}

/// Applies matrices \[n, 4, 4\] to images \[n, 1 or 3, h, w\]; a grey image takes the mean over the
/// rows of the matrix, as upstream does.
pub(super) fn apply(images: &Tensor, matrices: &Tensor) -> Tensor {
    let size = images.size();
    let (n, channels) = (size[0], size[1]);
    let matrices = matrices.to_kind(images.kind());
    let flat = images.reshape([n, channels, -1]);
    let mixed = if channels == 3 {
        matrices.narrow(1, 0, 3).narrow(2, 0, 3).bmm(&flat)
            + matrices.narrow(1, 0, 3).narrow(2, 3, 1)
    } else {
        let mean = matrices
            .narrow(1, 0, 3)
            .mean_dim([1i64].as_slice(), true, images.kind());
        let gain = mean
            .narrow(2, 0, 3)
            .sum_dim_intlist([2i64].as_slice(), true, images.kind());
        flat * gain + mean.narrow(2, 3, 1)
    };
    mixed.reshape(&size)
}

/// Identity matrices \[n, 4, 4\] for n values.
fn identity(like: &Tensor) -> Tensor {
    Tensor::eye(4, (like.kind(), like.device()))
        .unsqueeze(0)
        .repeat([like.size()[0], 1, 1])
}

/// Matrices \[n, 4, 4\] that multiply RGB by c \[n\].
fn diagonal(c: &Tensor) -> Tensor {
    let rows = Tensor::stack(&[c, c, c, &c.ones_like()], -1);
    identity(c) * rows.unsqueeze(1)
}

/// Projection \[4, 4\] onto the luma axis: v vᵀ with v = (1, 1, 1, 0) / √3.
fn luma(like: &Tensor) -> Tensor {
    let third = 1.0 / 3.0;
    let axis = Tensor::from_slice(&[third, third, third, 0.0])
        .outer(&Tensor::from_slice(&[1.0, 1.0, 1.0, 0.0]));
    axis.to_kind(like.kind()).to_device(like.device())
}

/// Rotation matrices \[n, 4, 4\] about the luma axis by `angle` \[n\] in radians (Rodrigues'
/// formula: I cos + K sin + v vᵀ (1 − cos)).
fn turn_about_luma(angle: &Tensor) -> Tensor {
    let r = 1.0 / 3f64.sqrt();
    #[rustfmt::skip]
    // K, the cross product with the unit axis (r, r, r).
    let cross = Tensor::from_slice(&[0.0, -r, r, 0.0,  r, 0.0, -r, 0.0,  -r, r, 0.0, 0.0,  0.0, 0.0, 0.0, 0.0]).view([4, 4]);
    let cross = cross.to_kind(angle.kind()).to_device(angle.device());
    let rgb = identity(angle)
        - Tensor::from_slice(&[0.0, 0.0, 0.0, 1.0])
            .diag(0)
            .to_kind(angle.kind())
            .to_device(angle.device());
    let (cos, sin) = (angle.cos().view([-1, 1, 1]), angle.sin().view([-1, 1, 1]));
    let one = identity(angle) - &rgb; // the homogeneous corner stays 1
    &rgb * &cos + cross * sin + luma(angle) * (cos.ones_like() - &cos) + one
}

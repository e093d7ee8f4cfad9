//! Geometric transforms: quarter turns and whole-pixel moves exactly, all others as one resampling
//! of the image at twice its resolution, between two low-pass filters (spec §7.6, "Execution").

use crate::learner::upload;
use tch::{Device, Kind, Tensor};

/// Low-pass filter: the scaling taps of the sym6 wavelet, upstream's choice (Karras et al. 2020,
/// appendix B; spec §7.6).
#[rustfmt::skip]
const SYM6: [f64; 12] = [
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466, 0.787641141030194,
    0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
];
/// Pixels that the filter needs beyond the image's edge: 12 taps at twice the resolution reach 3
/// pixels to each side (upstream's `Hz_pad`).
const FILTER_MARGIN: i64 = 3;

/// Matrices \[n, 3, 3\] from elements \[n\].
fn matrix(rows: [[&Tensor; 3]; 3]) -> Tensor {
    let rows: Vec<Tensor> = rows.iter().map(|row| Tensor::stack(row, -1)).collect();
    Tensor::stack(&rows, -2)
}

fn constants(like: &Tensor) -> (Tensor, Tensor) {
    (like.zeros_like(), like.ones_like())
}

/// Matrices \[n, 3, 3\] that scale by x and y \[n\].
pub(super) fn scale(x: &Tensor, y: &Tensor) -> Tensor {
    let (zero, one) = constants(x);
    matrix([[x, &zero, &zero], [&zero, y, &zero], [&zero, &zero, &one]])
}

/// Matrices \[n, 3, 3\] that rotate by `angle` \[n\] in radians.
pub(super) fn rotate(angle: &Tensor) -> Tensor {
    let (zero, one) = constants(angle);
    let (cos, sin, minus_sin) = (angle.cos(), angle.sin(), -angle.sin());
    matrix([
        [&cos, &minus_sin, &zero],
        [&sin, &cos, &zero],
        [&zero, &zero, &one],
    ])
}

/// Matrices \[n, 3, 3\] that translate by x and y \[n\] in pixels.
pub(super) fn translate(x: &Tensor, y: &Tensor) -> Tensor {
    let (zero, one) = constants(x);
    matrix([[&one, &zero, x], [&zero, &one, y], [&zero, &zero, &one]])
}

/// One constant matrix \[3, 3\] for all images.
fn fixed(values: [[f64; 3]; 3], kind: Kind, device: Device) -> Tensor {
    Tensor::from_slice(values.as_flattened())
        .view([3, 3])
        .to_kind(kind)
        .to_device(device)
}
fn fixed_scale(x: f64, y: f64, kind: Kind, device: Device) -> Tensor {
    fixed(
        [[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]],
        kind,
        device,
    )
}
fn fixed_translate(x: f64, y: f64, kind: Kind, device: Device) -> Tensor {
    fixed(
        [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]],
        kind,
        device,
    )
}

/// Rotates image i by `turns[i]` quarter turns, composed of mirrored columns, mirrored rows and a
/// transposition, each of which is exact. Images are square.
pub(super) fn quarter_turns(images: &Tensor, turns: &Tensor) -> Tensor {
    let pick = |of: &Tensor, a: i64, b: i64, other: &Tensor| {
        let chosen = turns.eq(a).logical_or(&turns.eq(b)).view([-1, 1, 1, 1]);
        of.where_self(&chosen, other)
    };
    let images = pick(&images.flip(3), 1, 2, images);
    let images = pick(&images.flip(2), 2, 3, &images);
    pick(&images.transpose(2, 3), 1, 3, &images)
}

/// Translates image i by whole pixels `tx[i]`, `ty[i]`; uncovered pixels are filled by reflection.
pub(super) fn translate_mirrored(images: &Tensor, tx: &Tensor, ty: &Tensor) -> Tensor {
    let size = images.size();
    let mirrored = |side: i64, shift: &Tensor| {
        let positions = Tensor::arange(side, (Kind::Int64, images.device())).view([1, -1])
            - shift.view([-1, 1]);
        // Reflection is a triangle wave of period 2·side − 2: … 2 1 0 1 2 … side−2 side−1 side−2 …
        (side - 1) - ((side - 1) - positions.remainder(2 * side - 2)).abs()
    };
    // Upstream's signs: to the right with tx, but upwards with ty.
    let rows = mirrored(size[2], &-ty)
        .view([-1, 1, size[2], 1])
        .expand([size[0], size[1], size[2], size[3]], false);
    let columns = mirrored(size[3], tx)
        .view([-1, 1, 1, size[3]])
        .expand([size[0], size[1], size[2], size[3]], false);
    images.gather(2, &rows, false).gather(3, &columns, false)
}

/// Padding \[left, top, right, bottom\] in pixels, so that every output pixel reads inside the
/// padded image: one margin for the whole batch, since a batch has one shape. Reflection cannot pad
/// by more than side − 1.
pub fn padding_of(matrices: &Tensor, height: i64, width: i64) -> [i64; 4] {
    let (cx, cy) = ((width - 1) as f64 / 2.0, (height - 1) as f64 / 2.0);
    let corners = fixed(
        [[-cx, cx, cx], [-cy, -cy, cy], [1.0, 1.0, 1.0]],
        matrices.kind(),
        matrices.device(),
    );
    let last = Tensor::from_slice(&[-cx, cy, 1.0])
        .view([3, 1])
        .to_kind(matrices.kind())
        .to_device(matrices.device());
    let mapped = matrices.matmul(&Tensor::cat(&[corners, last], 1)); // [n, 3, 4]
    let extent = |axis: i64, sign: f64| (mapped.select(1, axis) * sign).max();
    let margin = Tensor::stack(
        &[
            extent(0, -1.0),
            extent(1, -1.0),
            extent(0, 1.0),
            extent(1, 1.0),
        ],
        0,
    );
    // Twice the filter's margin: it is applied once going up and once coming down.
    let spare = 2.0 * FILTER_MARGIN as f64;
    let margin = margin
        + Tensor::from_slice(&[spare - cx, spare - cy, spare - cx, spare - cy])
            .to_kind(matrices.kind())
            .to_device(matrices.device());
    let margin = Vec::<f64>::try_from(margin.to_device(Device::Cpu).to_kind(Kind::Double))
        .expect("invariant: four numbers");
    let clamp = |value: f64, side: i64| value.clamp(0.0, (side - 1) as f64).ceil() as i64;
    [
        clamp(margin[0], width),
        clamp(margin[1], height),
        clamp(margin[2], width),
        clamp(margin[3], height),
    ]
}

/// Resamples images \[n, c, h, w\] through output-to-input matrices \[n, 3, 3\] in centred pixel
/// units and returns the same shape. The matrices may lie on the CPU whatever device the images are
/// on: their products are small, and the host reads the padding from them without waiting for the
/// device.
pub fn geometric(images: &Tensor, matrices: &Tensor) -> Tensor {
    let size = images.size();
    let (n, channels, height, width) = (size[0], size[1], size[2], size[3]);
    let (kind, device) = (images.kind(), matrices.device());
    let matrices = matrices.to_kind(kind);
    // Taps are rounded to float32 in every mode, as upstream stores them.
    let taps = upload(
        &Tensor::from_slice(&SYM6).to_kind(Kind::Float).to_kind(kind),
        images.device(),
    );
    let along = |filter: &Tensor, horizontal: bool| {
        let shape: [i64; 4] = if horizontal {
            [1, 1, 1, -1]
        } else {
            [1, 1, -1, 1]
        };
        filter.view(shape).repeat([channels, 1, 1, 1])
    };

    let [left, top, right, bottom] = padding_of(&matrices, height, width);
    let padded = images.reflection_pad2d([left, right, top, bottom]);
    let g = fixed_translate(
        (left - right) as f64 / 2.0,
        (top - bottom) as f64 / 2.0,
        kind,
        device,
    )
    .matmul(&matrices);

    // Up: zeros between samples, then the filter. `conv2d` correlates, so the taps are reversed to
    // make it a convolution.
    let reversed = taps.flip(0);
    let up = (SYM6.len() as i64) / 2;
    let size = padded.size();
    let insert_zeros = |x: &Tensor, axis: i64| {
        let mut shape = x.size();
        let doubled = Tensor::stack(&[x, &x.zeros_like()], axis + 1);
        shape[axis as usize] *= 2;
        doubled
            .reshape(&shape)
            .narrow(axis, 0, shape[axis as usize] - 1)
    };
    let wide = insert_zeros(&padded, 3).conv2d(
        &along(&reversed, true),
        None::<&Tensor>,
        1,
        [0, up],
        1,
        channels,
    );
    let fine = insert_zeros(&wide, 2).conv2d(
        &along(&reversed, false),
        None::<&Tensor>,
        1,
        [up, 0],
        1,
        channels,
    );
    debug_assert_eq!(fine.size()[3], size[3] * 2);
    // The same map in the pixels of the doubled image, whose centre lies half a pixel further.
    let g = fixed_scale(2.0, 2.0, kind, device)
        .matmul(&g)
        .matmul(&fixed_scale(0.5, 0.5, kind, device));
    let g = fixed_translate(-0.5, -0.5, kind, device)
        .matmul(&g)
        .matmul(&fixed_translate(0.5, 0.5, kind, device));

    // The resampling itself, onto a canvas with a margin for the second filter. `affine_grid` wants
    // coordinates in [−1, 1].
    let (canvas_h, canvas_w) = (
        (height + 2 * FILTER_MARGIN) * 2,
        (width + 2 * FILTER_MARGIN) * 2,
    );
    let from = fixed_scale(
        2.0 / fine.size()[3] as f64,
        2.0 / fine.size()[2] as f64,
        kind,
        device,
    );
    let to = fixed_scale(canvas_w as f64 / 2.0, canvas_h as f64 / 2.0, kind, device);
    let theta = upload(
        &from.matmul(&g).matmul(&to).narrow(1, 0, 2),
        images.device(),
    );
    let grid = Tensor::affine_grid_generator(&theta, [n, channels, canvas_h, canvas_w], false);
    let resampled = fine.grid_sampler(&grid, 0, 0, false); // bilinear, zeros outside

    // Down: filter (not reversed, spec §7.6e), keep every other sample, drop the margin.
    let down = up - 1;
    let narrow = resampled
        .conv2d(
            &along(&taps, true),
            None::<&Tensor>,
            [1, 2],
            [0, down],
            1,
            channels,
        )
        .narrow(3, FILTER_MARGIN, width);
    narrow
        .conv2d(
            &along(&taps, false),
            None::<&Tensor>,
            [2, 1],
            [down, 0],
            1,
            channels,
        )
        .narrow(2, FILTER_MARGIN, height)
}

//! The pipe itself: flips and whole-pixel moves act at once, all other geometry and colour is
//! gathered into one matrix per image (spec §7.6).

use super::{AugmentPipe, Augmented, Draws, Transform, colour, geometric, geometry};
use crate::learner::upload;
use std::f64::consts::PI;
use tch::{Kind, Tensor};

impl AugmentPipe {
    /// Applies these draws to images \[n, c, h, w\] in \[−1, 1\], square or not, of any float type.
    /// Draws on the CPU serve images on any device: only masks, one matrix per image and the labels
    /// are copied.
    pub fn apply(&self, images: &Tensor, draws: &Draws) -> Augmented {
        let size = images.size();
        let (n, height, width) = (size[0], size[2], size[3]);
        let (kind, device) = (images.kind(), images.device());
        let mut out = PipeState {
            images: images.shallow_clone(),
            labels: Vec::new(),
            values: Vec::new(),
            matrices: None,
            colour: None,
        };
        // A transform whose gate is closed keeps its neutral value: every image goes through the
        // same operations, so that its shape does not depend on the draws.
        let gated = |transform: Transform, value: &Tensor, neutral: f64| {
            let open = draws
                .gate(transform)
                .to_kind(Kind::Float)
                .lt(self.multiplier(transform) * self.p);
            value.where_self(
                &open,
                &Tensor::full([1i64], neutral, (value.kind(), value.device())),
            )
        };
        for transform in Transform::ALL
            .into_iter()
            .filter(|&transform| self.multiplier(transform) > 0.0)
        {
            match transform {
                Transform::Xflip | Transform::Yflip => {
                    let flag = gated(transform, &draws.integer(transform), 0.0);
                    let axis = if transform == Transform::Xflip { 3 } else { 2 };
                    let flip = upload(&flag.eq(1).view([n, 1, 1, 1]), device);
                    out.images = out.images.flip(axis).where_self(&flip, &out.images);
                    out.label(&[&flag], kind);
                    out.values.push((transform.value_name(), flag));
                }
                Transform::RotateInt => {
                    let turns = gated(transform, &draws.integer(transform), 0.0);
                    out.images = geometry::quarter_turns(&out.images, &upload(&turns, device));
                    // One bit per flip: 1 and 2 quarter turns mirror left to right, 2 and 3 top
                    // to bottom (see `quarter_turns`).
                    let is = |a: i64, b: i64| turns.eq(a).logical_or(&turns.eq(b));
                    out.label(&[&is(1, 2), &is(2, 3)], kind);
                    out.values.push((transform.value_name(), turns));
                }
                Transform::TranslateInt => {
                    let [x, y] = draws
                        .pair(transform)
                        .map(|u| gated(transform, &(u * 2.0 - 1.0), 0.0));
                    let largest = self.ranges.translate_int_max;
                    let steps = |value: &Tensor, side: i64| {
                        (value * (side as f64 * largest))
                            .round()
                            .to_kind(Kind::Int64)
                    };
                    let (tx, ty) = (steps(&x, width), steps(&y, height));
                    out.images = geometry::translate_mirrored(
                        &out.images,
                        &upload(&tx, device),
                        &upload(&ty, device),
                    );
                    let share = |steps: &Tensor, side: i64| {
                        steps.to_kind(Kind::Float) / (side as f64 * largest)
                    };
                    // The label is the distance after rounding, which is what the image shows.
                    out.label(&[&share(&tx, width), &share(&ty, height)], kind);
                    out.values
                        .extend([("translate_int.tx_px", tx), ("translate_int.ty_px", ty)]);
                }
                Transform::Scale => {
                    let w = gated(transform, &draws.normal(transform), 0.0);
                    let s = (&w * self.ranges.scale_std).exp2();
                    // 1/s, because the matrices map the output to the input.
                    out.compose(&geometry::scale(&s.reciprocal(), &s.reciprocal()));
                    out.label(&[&w], kind);
                    out.values.push((transform.value_name(), s));
                }
                Transform::RotateFrac => {
                    let angle = gated(
                        transform,
                        &((draws.uniform(transform) * 2.0 - 1.0)
                            * (PI * self.ranges.rotate_frac_max)),
                        0.0,
                    );
                    out.compose(&geometry::rotate(&angle));
                    // cos − 1, so that "no rotation" is the zero label that sampling uses.
                    out.label(&[&(angle.cos() - 1.0), &angle.sin()], kind);
                    out.values.push((transform.value_name(), angle));
                }
                Transform::Aniso => {
                    let w = gated(transform, &draws.normal(transform), 0.0);
                    // This gate is not multiplied by p (spec §7.6): with it closed, the axis is
                    // horizontal.
                    let turned = draws.rotate_gate().lt(self.ranges.aniso_rotate_prob);
                    let angle = ((draws.angle() * 2.0 - 1.0) * PI)
                        .where_self(&turned, &w.zeros_like().narrow(0, 0, 1));
                    let s = (&w * self.ranges.aniso_std).exp2();
                    // Turn the axis to the horizontal, stretch by s along it and by 1/s across,
                    // turn back (as output-to-input matrices, in reverse).
                    out.compose(&geometry::rotate(&-&angle));
                    out.compose(&geometry::scale(&s.reciprocal(), &s));
                    out.compose(&geometry::rotate(&angle));
                    out.label(&[&(&w * angle.cos()), &(&w * angle.sin())], kind);
                    out.values
                        .extend([("aniso.s", s), ("aniso.angle_rad", angle)]);
                }
                Transform::TranslateFrac => {
                    let [x, y] = draws.pair(transform).map(|n| gated(transform, &n, 0.0));
                    let (tx, ty) = (
                        &x * (width as f64 * self.ranges.translate_frac_std),
                        &y * (height as f64 * self.ranges.translate_frac_std),
                    );
                    // Negated, because the matrices map the output to the input.
                    out.compose(&geometry::translate(&-&tx, &-&ty));
                    out.label(&[&x, &y], kind);
                    out.values
                        .extend([("translate_frac.tx_px", tx), ("translate_frac.ty_px", ty)]);
                }
                _ => {
                    let (value, labels, matrix) =
                        colour::transform(transform, draws, &self.ranges, &gated);
                    out.compose_colour(&matrix);
                    out.label(&labels.iter().collect::<Vec<_>>(), kind);
                    out.values.push((transform.value_name(), value));
                }
            }
        }
        out.finish()
    }
}

/// A product of matrices, in float64 where either is: a transform whose draw is an integer makes
/// float32 matrices, whatever the type of the other draws.
fn product(a: &Tensor, b: &Tensor) -> Tensor {
    let wider = if a.kind() == b.kind() {
        a.kind()
    } else {
        Kind::Double
    };
    a.to_kind(wider).matmul(&b.to_kind(wider))
}

/// Images, labels and matrices while the pipe runs.
struct PipeState {
    images: Tensor,
    labels: Vec<Tensor>,
    values: Vec<(&'static str, Tensor)>,
    matrices: Option<Tensor>,
    colour: Option<Tensor>,
}

impl PipeState {
    /// Appends label columns \[n\].
    fn label(&mut self, columns: &[&Tensor], kind: Kind) {
        let n = self.images.size()[0];
        self.labels.extend(
            columns
                .iter()
                .map(|column| column.to_kind(kind).view([n, 1])),
        );
    }
    /// G ← G M, where G maps output to input coordinates.
    fn compose(&mut self, matrix: &Tensor) {
        self.matrices = Some(match &self.matrices {
            Some(matrices) => product(matrices, matrix),
            None => matrix.shallow_clone(),
        });
    }
    /// C ← M C, where C maps input to output colours.
    fn compose_colour(&mut self, matrix: &Tensor) {
        self.colour = Some(match &self.colour {
            Some(colour) => product(matrix, colour),
            None => matrix.shallow_clone(),
        });
    }
    /// Resamples and recolours the images once, by the products of all matrices.
    fn finish(self) -> Augmented {
        let mut images = self.images;
        if let Some(matrices) = &self.matrices {
            images = geometric(&images, matrices);
        }
        if let Some(colour) = &self.colour {
            images = colour::apply(&images, &upload(colour, images.device()));
        }
        let labels = match self.labels.is_empty() {
            true => Tensor::zeros([images.size()[0], 0], (images.kind(), images.device())),
            false => upload(&Tensor::cat(&self.labels, 1), images.device()),
        };
        Augmented {
            images,
            labels,
            values: self.values,
            matrices: self.matrices,
        }
    }
}

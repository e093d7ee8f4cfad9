//! EDM's non-leaky augmentation pipe: every transform is told to the network as a label (spec §7.6;
//! Karras et al. 2020 for the transforms themselves).
//!
//! Random draws ([`Draws`]) are kept apart from what is done with them, so that draws can be given.

mod colour;
mod draws;
mod geometry;

pub use draws::{Draws, Transform};
pub use geometry::{geometric, padding_of};

use crate::learner::upload;
use cedm_contract::kinds::train::AugmentParams;
use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// Probability of the whole pipe and the multiplier of every transform; 0 switches one off.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct AugmentPipe {
    /// Overall probability.
    pub p: f64,
    /// Multipliers, by transform.
    pub multipliers: Vec<(Transform, f64)>,
    /// How far the transforms go.
    pub reach: Reach,
}

/// How far each transform goes; the defaults are those of every published run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// Largest whole-pixel translation, in image sides.
    pub translate_int_max: f64,
    /// Standard deviation of log2 of the scale.
    pub scale_std: f64,
    /// Largest rotation, in half turns.
    pub rotate_frac_max: f64,
    /// Standard deviation of log2 of the anisotropic scale.
    pub aniso_std: f64,
    /// Probability that the axis of anisotropic scaling is turned.
    pub aniso_rotate_prob: f64,
    /// Standard deviation of the translation, in image sides.
    pub translate_frac_std: f64,
    /// Standard deviation of the brightness.
    pub brightness_std: f64,
    /// Standard deviation of log2 of the contrast.
    pub contrast_std: f64,
    /// Largest turn of the hue, in half turns.
    pub hue_max: f64,
    /// Standard deviation of log2 of the saturation.
    pub saturation_std: f64,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            translate_int_max: 0.125,
            scale_std: 0.2,
            rotate_frac_max: 1.0,
            aniso_std: 0.2,
            aniso_rotate_prob: 0.5,
            translate_frac_std: 0.125,
            brightness_std: 0.2,
            contrast_std: 0.5,
            hue_max: 1.0,
            saturation_std: 1.0,
        }
    }
}

impl From<&AugmentParams> for AugmentPipe {
    fn from(params: &AugmentParams) -> Self {
        let AugmentParams {
            p,
            xflip,
            yflip,
            scale,
            rotate_frac,
            aniso,
            translate_frac,
        } = *params;
        let all = [
            (Transform::Xflip, xflip),
            (Transform::Yflip, yflip),
            (Transform::Scale, scale),
            (Transform::RotateFrac, rotate_frac),
            (Transform::Aniso, aniso),
            (Transform::TranslateFrac, translate_frac),
        ];
        Self {
            p,
            multipliers: if p > 0.0 { all.to_vec() } else { Vec::new() },
            reach: Reach::default(),
        }
    }
}

/// What the pipe made of some images.
#[derive(Debug)]
pub struct Augmented {
    /// Images, in the shape of the input.
    pub images: Tensor,
    /// Labels \[n, A\], one or two columns per transform that is on, in the order of
    /// [`Transform::ALL`].
    pub labels: Tensor,
    /// Values after gating, in plain units, by name.
    pub values: Vec<(&'static str, Tensor)>,
    /// Output-to-input matrices in centred pixels \[n, 3, 3\], where a geometric transform is on.
    pub matrices: Option<Tensor>,
}

impl AugmentPipe {
    /// Whether a transform is on.
    pub fn multiplier(&self, transform: Transform) -> f64 {
        self.multipliers
            .iter()
            .find(|(on, _)| *on == transform)
            .map_or(0.0, |(_, multiplier)| *multiplier)
    }

    /// Columns of the labels. A transform with multiplier 0 has none; in a training setting where
    /// some are off, see [`AugmentPipe::labels_of_width`].
    pub fn label_width(&self) -> i64 {
        Transform::ALL
            .iter()
            .filter(|&&transform| self.multiplier(transform) > 0.0)
            .map(|transform| transform.label_width())
            .sum()
    }

    /// Labels in a fixed column for each of the six training transforms, zero for those that are
    /// off: the nine labels of the published networks, whatever is on.
    pub fn labels_of_width(&self, labels: &Tensor, width: i64) -> Tensor {
        if labels.size()[1] == width {
            return labels.shallow_clone();
        }
        let n = labels.size()[0];
        let mut columns = Vec::new();
        let mut next = 0;
        for transform in Transform::TRAINING {
            let wide = transform.label_width();
            if self.multiplier(transform) > 0.0 {
                columns.push(labels.narrow(1, next, wide));
                next += wide;
            } else {
                columns.push(Tensor::zeros([n, wide], (labels.kind(), labels.device())));
            }
        }
        Tensor::cat(&columns, 1)
    }

    /// Applies prescribed draws to images \[n, c, h, w\] in \[−1, 1\]. Square or not, any float
    /// type. Draws on the CPU serve images on any device: only masks, one matrix per image and the
    /// labels travel.
    pub fn apply(&self, images: &Tensor, draws: &Draws) -> Augmented {
        let size = images.size();
        let (n, height, width) = (size[0], size[2], size[3]);
        let (kind, device) = (images.kind(), images.device());
        let mut out = Stack {
            images: images.shallow_clone(),
            labels: Vec::new(),
            values: Vec::new(),
            matrices: None,
            colour: None,
        };
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
                    let is = |a: i64, b: i64| turns.eq(a).logical_or(&turns.eq(b));
                    out.label(&[&is(1, 2), &is(2, 3)], kind);
                    out.values.push((transform.value_name(), turns));
                }
                Transform::TranslateInt => {
                    let [x, y] = draws
                        .pair(transform)
                        .map(|u| gated(transform, &(u * 2.0 - 1.0), 0.0));
                    let reach = self.reach.translate_int_max;
                    let steps = |value: &Tensor, side: i64| {
                        (value * (side as f64 * reach)).round().to_kind(Kind::Int64)
                    };
                    let (tx, ty) = (steps(&x, width), steps(&y, height));
                    out.images = geometry::translate_mirrored(
                        &out.images,
                        &upload(&tx, device),
                        &upload(&ty, device),
                    );
                    let share = |steps: &Tensor, side: i64| {
                        steps.to_kind(Kind::Float) / (side as f64 * reach)
                    };
                    out.label(&[&share(&tx, width), &share(&ty, height)], kind);
                    out.values
                        .extend([("translate_int.tx_px", tx), ("translate_int.ty_px", ty)]);
                }
                Transform::Scale => {
                    let w = gated(transform, &draws.normal(transform), 0.0);
                    let s = (&w * self.reach.scale_std).exp2();
                    out.compose(&geometry::scale(&s.reciprocal(), &s.reciprocal()));
                    out.label(&[&w], kind);
                    out.values.push((transform.value_name(), s));
                }
                Transform::RotateFrac => {
                    let angle = gated(
                        transform,
                        &((draws.uniform(transform) * 2.0 - 1.0)
                            * (PI * self.reach.rotate_frac_max)),
                        0.0,
                    );
                    out.compose(&geometry::rotate(&angle));
                    out.label(&[&(angle.cos() - 1.0), &angle.sin()], kind);
                    out.values.push((transform.value_name(), angle));
                }
                Transform::Aniso => {
                    let w = gated(transform, &draws.normal(transform), 0.0);
                    let turned = draws.rotate_gate().lt(self.reach.aniso_rotate_prob);
                    let angle = ((draws.angle() * 2.0 - 1.0) * PI)
                        .where_self(&turned, &w.zeros_like().narrow(0, 0, 1));
                    let s = (&w * self.reach.aniso_std).exp2();
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
                        &x * (width as f64 * self.reach.translate_frac_std),
                        &y * (height as f64 * self.reach.translate_frac_std),
                    );
                    out.compose(&geometry::translate(&-&tx, &-&ty));
                    out.label(&[&x, &y], kind);
                    out.values
                        .extend([("translate_frac.tx_px", tx), ("translate_frac.ty_px", ty)]);
                }
                _ => {
                    let (value, labels, matrix) =
                        colour::transform(transform, draws, &self.reach, &gated);
                    out.paint(&matrix);
                    out.label(&labels.iter().collect::<Vec<_>>(), kind);
                    out.values.push((transform.value_name(), value));
                }
            }
        }
        out.finish()
    }
}

/// What has been gathered so far.
struct Stack {
    images: Tensor,
    labels: Vec<Tensor>,
    values: Vec<(&'static str, Tensor)>,
    matrices: Option<Tensor>,
    colour: Option<Tensor>,
}

impl Stack {
    fn label(&mut self, columns: &[&Tensor], kind: Kind) {
        let n = self.images.size()[0];
        self.labels.extend(
            columns
                .iter()
                .map(|column| column.to_kind(kind).view([n, 1])),
        );
    }
    /// G ← G · M: the map from output to input.
    fn compose(&mut self, matrix: &Tensor) {
        self.matrices = Some(match &self.matrices {
            Some(matrices) => matrices.matmul(matrix),
            None => matrix.shallow_clone(),
        });
    }
    /// C ← M · C.
    fn paint(&mut self, matrix: &Tensor) {
        self.colour = Some(match &self.colour {
            Some(colour) => matrix.matmul(colour),
            None => matrix.shallow_clone(),
        });
    }
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

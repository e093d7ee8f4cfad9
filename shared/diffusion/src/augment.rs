//! EDM's non-leaky augmentation pipe: the network receives the parameters of every transform as a
//! label, so that augmented images do not leak into what it samples (spec §7.6; Karras et al. 2020
//! for the transforms themselves).
//!
//! Random draws ([`Draws`]) are separate from the transforms, so that tests and parity fixtures can
//! prescribe them.

mod apply;
mod colour;
mod draws;
mod geometry;

pub use draws::{Draws, Transform};
pub use geometry::{geometric, padding_of};

use cedm_contract::kinds::train::AugmentParams;
use tch::Tensor;

/// The augmentation pipe: a probability and a multiplier for every transform. A transform is
/// applied to an image with probability p · multiplier (at most 1); multiplier 0 switches it off.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct AugmentPipe {
    /// Probability that the multipliers are factors of.
    pub p: f64,
    /// Multiplier of each transform that is not off.
    pub multipliers: Vec<(Transform, f64)>,
    /// Strength of the transforms.
    pub ranges: TransformRanges,
}

/// Strength of each transform; the defaults are those of every published run (spec §7.6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformRanges {
    /// Largest whole-pixel translation as a fraction of the image side.
    pub translate_int_max: f64,
    /// Standard deviation of log2 of the scale.
    pub scale_std: f64,
    /// Largest rotation in units of π.
    pub rotate_frac_max: f64,
    /// Standard deviation of log2 of the anisotropic scale.
    pub aniso_std: f64,
    /// Probability that the axis of anisotropic scaling is rotated; not multiplied by p.
    pub aniso_rotate_prob: f64,
    /// Standard deviation of the translation as a fraction of the image side.
    pub translate_frac_std: f64,
    /// Standard deviation of the brightness, for images in \[−1, 1\].
    pub brightness_std: f64,
    /// Standard deviation of log2 of the contrast.
    pub contrast_std: f64,
    /// Largest rotation of the hue in units of π.
    pub hue_max: f64,
    /// Standard deviation of log2 of the saturation.
    pub saturation_std: f64,
}

impl Default for TransformRanges {
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
            ranges: TransformRanges::default(),
        }
    }
}

/// Augmented images with the labels that describe what was done to them.
#[derive(Debug)]
pub struct Augmented {
    /// Images in the shape, type and device of the input.
    pub images: Tensor,
    /// Labels \[n, A\], one or two columns per transform that is on, in the order of
    /// [`Transform::ALL`].
    pub labels: Tensor,
    /// Parameter of each transform after gating, in plain units (pixels, radians), by name.
    pub values: Vec<(&'static str, Tensor)>,
    /// Output-to-input matrices in centred pixel units \[n, 3, 3\], if a geometric transform is on.
    pub matrices: Option<Tensor>,
}

impl AugmentPipe {
    /// The multiplier of a transform; 0 means it is off.
    pub fn multiplier(&self, transform: Transform) -> f64 {
        self.multipliers
            .iter()
            .find(|(on, _)| *on == transform)
            .map_or(0.0, |(_, multiplier)| *multiplier)
    }

    /// Number of label columns: those of the transforms that are on. Where the network expects the
    /// columns of all training transforms, see [`AugmentPipe::labels_of_width`].
    pub fn label_width(&self) -> i64 {
        Transform::ALL
            .iter()
            .filter(|&&transform| self.multiplier(transform) > 0.0)
            .map(|transform| transform.label_width())
            .sum()
    }

    /// Labels \[n, width\] with fixed columns for each of the six training transforms, zero for
    /// those that are off: the nine labels of the published networks, whichever transforms are on.
    pub fn labels_of_width(&self, labels: &Tensor, width: i64) -> Tensor {
        if labels.size()[1] == width {
            return labels.shallow_clone();
        }
        let n = labels.size()[0];
        let mut columns = Vec::new();
        let mut next = 0;
        for transform in Transform::TRAINING {
            let width = transform.label_width();
            if self.multiplier(transform) > 0.0 {
                columns.push(labels.narrow(1, next, width));
                next += width;
            } else {
                columns.push(Tensor::zeros([n, width], (labels.kind(), labels.device())));
            }
        }
        Tensor::cat(&columns, 1)
    }
}

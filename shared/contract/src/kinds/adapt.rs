//! A backbone adapted to an image set by DINO training, or a small one trained from nothing (spec
//! §12).

use super::JobKind;
use crate::{ExtractorSpec, OutputName, Service, inputs::inputs};
use serde::{Deserialize, Serialize};

/// DINO training of a backbone on an image set; no label is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptParams {
    /// The backbone before: a vision transformer of the table with its weights, or `vit` without
    /// any for a small one from nothing.
    pub extractor: ExtractorSpec,
    /// How it is trained.
    pub training: DinoParams,
}

impl JobKind for AdaptParams {
    const SERVICE: Service = Service::Extractor;
    const VERSION: u32 = 1;
    type Inputs<T> = AdaptInputs<T>;
    type Result = AdaptResult;
}

inputs! {
    /// What an adaptation reads.
    pub struct AdaptInputs<T> {
        /// The image set (Import).
        pub images: T as "images",
    }
}

/// The teacher's backbone under upstream's names, its `heads` beside them.
pub const BACKBONE: OutputName = OutputName::stable("backbone.safetensors");

/// Loss, learning rate and spread by step.
pub const CURVE: OutputName = OutputName::volatile("curve.json");

/// How an adaptation ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdaptResult {
    /// Number of optimiser steps that were made.
    pub steps: u64,
    /// Width D of the backbone's features.
    pub dim: u32,
    /// Mean loss over the last epoch.
    pub loss: f64,
    /// Mean standard deviation of the teacher's outputs over the last batch; towards 0 when
    /// training collapses.
    pub spread: f64,
}

/// Size of a small vision transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VitSize {
    /// Side of the images that it reads; a multiple of `patch`.
    pub image: u32,
    /// Side of a patch in pixels.
    pub patch: u32,
    /// Width; a multiple of `heads`.
    pub dim: u32,
    /// Number of transformer blocks.
    pub depth: u32,
    /// Attention heads of each block.
    pub heads: u32,
}

impl Default for VitSize {
    fn default() -> Self {
        Self {
            image: 32,
            patch: 4,
            dim: 192,
            depth: 6,
            heads: 3,
        }
    }
}

impl VitSize {
    /// What is wrong with it.
    pub fn obstacle(&self) -> Option<String> {
        let Self {
            image,
            patch,
            dim,
            depth,
            heads,
        } = *self;
        let sizes = [
            ("image", image),
            ("patch", patch),
            ("dim", dim),
            ("depth", depth),
            ("heads", heads),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Some(format!("`{name}` is 0: expected at least 1"));
        }
        if image % patch != 0 {
            return Some(format!(
                "images of {image} pixels hold no whole number of patches of {patch}"
            ));
        }
        (dim % heads != 0).then(|| format!("a width of {dim} is not a multiple of {heads} heads"))
    }
}

/// DINO training. Defaults are those of DINO's own recipe for a small network from nothing; for
/// others see [`DinoParams::suited_to`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DinoParams {
    /// Size of the network where it starts from nothing (extractor `vit` without weights).
    pub vit: VitSize,
    /// Passes over the set.
    pub epochs: u32,
    /// Images per optimiser step.
    pub batch: u32,
    /// Small crops beside the two large ones.
    pub local_crops: u32,
    /// Side of the small crops; a multiple of the patch.
    pub local_size: u32,
    /// Area of the large crops, as a share of the image.
    pub global_scale: (f64, f64),
    /// Area of the small crops, as a share of the image.
    pub local_scale: (f64, f64),
    /// Whether crops are mirrored half of the time; wrong for digits and letters.
    pub flip: bool,
    /// Whether colours are jittered, blurred, solarised.
    pub colour: bool,
    /// Widths of the head: hidden, bottleneck, out.
    pub head: (u32, u32, u32),
    /// Peak learning rate at a batch of 256; scaled with the batch. Upstream advises less, 1e-5 to
    /// 5e-5, for fine-tuning.
    pub learning_rate: f64,
    /// Learning rate at the end of the cosine schedule.
    pub last_learning_rate: f64,
    /// Epochs over which the learning rate rises.
    pub warmup_epochs: u32,
    /// Weight decay at the start and at the end.
    pub weight_decay: (f64, f64),
    /// Momentum of the teacher at the start; 1 at the end.
    pub teacher_momentum: f64,
    /// Temperature of the student.
    pub student_temperature: f64,
    /// Temperature of the teacher at the start and after its warm-up.
    pub teacher_temperature: (f64, f64),
    /// Epochs over which the teacher's temperature rises.
    pub teacher_warmup_epochs: u32,
    /// Momentum of the centre.
    pub center_momentum: f64,
    /// Largest norm of a parameter's gradient.
    pub clip_grad: f64,
    /// Epochs during which the last layer stays as it is.
    pub freeze_last_layer: u32,
    /// Seed of weights, order and crops.
    pub seed: u64,
}

impl DinoParams {
    /// The defaults for a network that reads images of this side in patches of that one, with
    /// published weights or from nothing. Small crops are three sevenths of the image, in whole
    /// patches: 96 of 224 for patches of 16 as in DINO, 98 for those of 14 as in DINOv2, 16 of 32
    /// for patches of 4. Published weights are fine-tuned at a tenth of the rate: upstream advises
    /// 1e-5 to 5e-5.
    pub fn suited_to((side, patch): (u32, u32), is_pretrained: bool) -> Self {
        let default = Self::default();
        let patch = patch.max(1);
        Self {
            local_size: (side.saturating_mul(3) / 7)
                .max(1)
                .div_ceil(patch)
                .saturating_mul(patch),
            learning_rate: if is_pretrained {
                default.learning_rate / 10.0
            } else {
                default.learning_rate
            },
            ..default
        }
    }

    /// Side and patch of the images that a vision transformer of the table reads, whose side is
    /// `input`: the patch ends its name, or is 16.
    pub fn side_and_patch(extractor: &str, input: Option<u32>, size: &VitSize) -> (u32, u32) {
        let Some(side) = input else {
            return (size.image, size.patch);
        };
        let digits = extractor
            .trim_end_matches(|c: char| c.is_ascii_digit())
            .len();
        (side, extractor[digits..].parse().unwrap_or(16))
    }
}

impl Default for DinoParams {
    fn default() -> Self {
        Self {
            vit: VitSize::default(),
            epochs: 15,
            batch: 64,
            local_crops: 8,
            local_size: 16,
            global_scale: (0.4, 1.0),
            local_scale: (0.05, 0.4),
            flip: true,
            colour: true,
            head: (2048, 256, 65536),
            learning_rate: 5e-4,
            last_learning_rate: 1e-6,
            warmup_epochs: 1,
            weight_decay: (0.04, 0.4),
            teacher_momentum: 0.996,
            student_temperature: 0.1,
            teacher_temperature: (0.04, 0.07),
            teacher_warmup_epochs: 5,
            center_momentum: 0.9,
            clip_grad: 3.0,
            freeze_last_layer: 1,
            seed: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_follow_the_size_and_the_weights() {
        let small = VitSize::default();
        for (name, input, local) in [
            ("dino_vitb16", Some(224), 96),
            ("dino_vits8", Some(224), 96),
            ("mocov3_vit_base", Some(224), 96),
            ("dinov2_vitl14", Some(224), 98),
            ("vit", None, 16),
        ] {
            let size = DinoParams::side_and_patch(name, input, &small);
            let found = DinoParams::suited_to(size, input.is_some());
            let rate = if input.is_some() { 5e-5 } else { 5e-4 };
            assert_eq!(
                (found.local_size, found.learning_rate),
                (local, rate),
                "{name}"
            );
        }
        // A small network from nothing keeps what it had.
        let size = DinoParams::side_and_patch("vit", None, &small);
        assert_eq!(DinoParams::suited_to(size, false), DinoParams::default());
        let tiny = DinoParams::suited_to((16, 4), false);
        assert_eq!(tiny.local_size, 8);
    }
}

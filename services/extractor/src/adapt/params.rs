//! Self-supervised adaptation of a backbone to an image set (spec §12).

use cedm_contract::params::ExtractorSpec;
use serde::{Deserialize, Serialize};

/// The backbone that is adapted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "start", rename_all = "snake_case")]
pub enum AdaptStart {
    /// A ViT of the extractor table with its published weights.
    Published {
        /// Which, with its weights.
        extractor: ExtractorSpec,
    },
    /// A small ViT from nothing.
    Fresh {
        /// Side of the images it reads; a multiple of `patch`.
        image: u32,
        /// Patch side.
        patch: u32,
        /// Width.
        dim: u32,
        /// Blocks.
        depth: u32,
        /// Attention heads.
        heads: u32,
    },
}

/// DINO training. Defaults are those of DINO's own recipe, as far as they do not depend on the size of the set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptParams {
    /// The backbone.
    pub start: AdaptStart,
    /// Passes over the set.
    pub epochs: u32,
    /// Images per step.
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
    /// Peak learning rate at a batch of 256; scaled with the batch.
    pub learning_rate: f64,
    /// Last learning rate.
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

impl Default for AdaptParams {
    fn default() -> Self {
        Self {
            start: AdaptStart::Fresh {
                image: 32,
                patch: 4,
                dim: 192,
                depth: 6,
                heads: 3,
            },
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

//! EDM training (spec §7).

use crate::params::Precision;
use serde::{Deserialize, Serialize};

/// How the noise level enters the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Embedding {
    /// DDPM++: positional embedding, standard encoder, filter \[1,1\].
    #[default]
    Ddpmpp,
    /// NCSN++: Fourier embedding, residual encoder, filter \[1,3,3,1\].
    Ncsnpp,
}

/// SongUNet under EDM preconditioning: everything needed to build it (spec §7.1, §7.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Side of the images.
    pub resolution: u32,
    /// Image channels.
    pub channels: u32,
    /// Label slots; 0 for unconditional.
    pub label_dim: u32,
    /// Augmentation labels: 9, or 0 without augmentation.
    pub augment_dim: u32,
    /// Base width.
    pub model_channels: u32,
    /// Width multiplier of each level.
    pub channel_mult: Vec<u32>,
    /// Embedding width in units of `model_channels`.
    pub channel_mult_emb: u32,
    /// Width of the noise level's features, to which labels are added, in units of `model_channels`; absent, it is the
    /// embedding's own: 1 for DDPM++, 2 for NCSN++. Narrow networks need more, or labels and noise level drown each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_mult_noise: Option<u32>,
    /// Blocks per level.
    pub num_blocks: u32,
    /// Resolutions with attention.
    pub attn_resolutions: Vec<u32>,
    /// Dropout before the second convolution of each block.
    pub dropout: f64,
    /// Probability of dropping a label in training.
    pub label_dropout: f64,
    /// DDPM++ or NCSN++.
    #[serde(default)]
    pub embedding: Embedding,
    /// Expected standard deviation of the data.
    pub sigma_data: f64,
}

/// Adam, its ramp, and the weights' running mean (spec §7.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserParams {
    /// Images per step.
    pub batch: u32,
    /// Images per forward pass; `batch` must be a multiple. Part of the key: rounding depends on it.
    pub micro_batch: u32,
    /// Learning rate after the ramp.
    pub lr: f64,
    /// Linear ramp, in thousand images (10,000 in the paper).
    pub lr_rampup_kimg: f64,
    /// Adam betas.
    pub betas: (f64, f64),
    /// Adam epsilon.
    pub eps: f64,
    /// Half-life of the EMA, in thousand images (500 in the paper).
    pub ema_halflife_kimg: f64,
    /// EMA ramp-up ratio (0.05); absent for none.
    pub ema_rampup_ratio: Option<f64>,
    /// Mean of ln sigma.
    pub p_mean: f64,
    /// Standard deviation of ln sigma.
    pub p_std: f64,
    /// Loss scaling.
    pub loss_scaling: f64,
}

/// Augmentation (spec §7.6). `p` 0 switches the pipe off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentParams {
    /// Overall probability.
    pub p: f64,
    /// Multiplier of the x-flip gate: 1e8 in the paper (half of all images), 0 where mirrored images are wrong (digits).
    pub xflip: f64,
    /// Multiplier of the y-flip gate.
    pub yflip: f64,
    /// Multiplier of isotropic scaling.
    pub scale: f64,
    /// Multiplier of rotation.
    pub rotate_frac: f64,
    /// Multiplier of anisotropic scaling.
    pub aniso: f64,
    /// Multiplier of translation.
    pub translate_frac: f64,
}

/// One segment of a training run: from one snapshot to the next. A run is a chain of segments, so that a longer budget goes
/// on from a shorter one and every snapshot is an artefact of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainParams {
    /// The network; its `label_dim` equals the condition's number of used clusters.
    pub network: NetworkSpec,
    /// Optimisation.
    pub optimiser: OptimiserParams,
    /// Augmentation.
    pub augment: AugmentParams,
    /// Arithmetic.
    pub precision: Precision,
    /// Seed of every random stream.
    pub seed: u64,
    /// Images seen before this segment.
    pub from_nimg: u64,
    /// Images seen at its end: a multiple of the batch.
    pub to_nimg: u64,
}

//! One segment of an EDM training run, from one snapshot to the next (spec §7). A run is a chain of
//! segments, so that a longer budget continues a shorter one and every snapshot is an artefact of
//! its own.

use super::JobKind;
use crate::{OutputName, Precision, Service, inputs::inputs};
use serde::{Deserialize, Serialize};

/// The network, how it is trained, and from where to where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainParams {
    /// The network; its `label_dim` equals the condition's number of used clusters.
    pub network: NetworkSpec,
    /// Batch, learning rate, Adam, EMA and the distribution of noise levels.
    pub optimiser: OptimiserParams,
    /// Augmentation of the images before noise is added.
    pub augment: AugmentParams,
    /// Arithmetic of the forward and backward pass.
    pub precision: Precision,
    /// Seed of every random stream.
    pub seed: u64,
    /// Images seen before this segment.
    pub from_nimg: u64,
    /// Images seen at its end: a multiple of the batch.
    pub to_nimg: u64,
}

impl JobKind for TrainParams {
    const SERVICE: Service = Service::Trainer;
    const VERSION: u32 = 2;
    type Inputs<T> = TrainInputs<T>;
    type Result = TrainResult;
}

inputs! {
    /// What a training segment reads.
    pub struct TrainInputs<T> {
        /// The image set (Import).
        pub images: T as "images",
        /// The condition (Cluster); absent for an unconditional network.
        pub condition: Option<T> as "condition",
        /// The segment before (Train); absent in the first one.
        pub previous: Option<T> as "previous",
    }
}

/// The running mean of the weights (EMA), under upstream's names: what samplers load.
pub const EMA: OutputName = OutputName::stable("ema.safetensors");

/// Everything needed to continue bit-exactly: weights, EMA, moments of Adam, random state.
pub const STATE: OutputName = OutputName::stable("state.safetensors");

/// Loss, gradient norm, learning rate and images per second by kimg.
pub const CURVE: OutputName = OutputName::volatile("curve.json");

/// Columns of [`CURVE`], a JSON object of arrays with one number per tick of the training.
pub mod curve {
    /// Images seen at the tick's end, in thousands: what the other columns run along.
    pub const KIMG: &str = "kimg";
    /// Mean loss per pixel over the tick.
    pub const LOSS: &str = "loss";
    /// Euclidean norm of the gradient of the tick's last step.
    pub const GRADIENT_NORM: &str = "gradient_norm";
    /// Learning rate of the tick's last step.
    pub const LR: &str = "lr";
    /// Images trained on per second, over the tick.
    pub const IMAGES_PER_SECOND: &str = "images_per_second";
    /// Resident memory of the process at the tick's end, in bytes.
    pub const RESIDENT_BYTES: &str = "resident_bytes";
    /// Memory in use on the GPU at the tick's end, in bytes; 0 on a CPU.
    pub const DEVICE_BYTES: &str = "device_bytes";
}

/// How far the training is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainResult {
    /// Images seen since the very start.
    pub nimg: u64,
    /// Optimiser steps since the very start.
    pub steps: u64,
    /// Label slots of the network; 0 when unconditional.
    pub label_dim: u32,
    /// Parameters of the network.
    pub parameters: u64,
    /// Mean loss per pixel over the last tick.
    pub loss: Option<f64>,
}

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
    /// Channels of the images: 1 for grey, 3 for RGB.
    pub channels: u32,
    /// Label slots; 0 for unconditional.
    pub label_dim: u32,
    /// Augmentation labels: 9, or 0 without augmentation.
    pub augment_dim: u32,
    /// Width that `channel_mult` multiplies, in channels.
    pub model_channels: u32,
    /// Width multiplier of each level.
    pub channel_mult: Vec<u32>,
    /// Embedding width in units of `model_channels`.
    pub channel_mult_emb: u32,
    /// Width of the noise level's features, to which labels are added, in units of
    /// `model_channels`; absent, it is that of the published form: 1 for DDPM++, 2 for NCSN++ (spec
    /// appendix A).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_mult_noise: Option<u32>,
    /// Residual blocks per resolution level.
    pub num_blocks: u32,
    /// Sides in pixels of the levels whose blocks have self-attention.
    pub attn_resolutions: Vec<u32>,
    /// Dropout before the second convolution of each block.
    pub dropout: f64,
    /// Probability of dropping a label in training.
    pub label_dropout: f64,
    /// Form of the network: DDPM++ by default, or NCSN++.
    #[serde(default)]
    pub embedding: Embedding,
    /// Expected standard deviation of the data.
    pub sigma_data: f64,
}

impl NetworkSpec {
    /// [`NetworkSpec::channel_mult_noise`], or that of the published form.
    pub fn noise_multiplier(&self) -> u32 {
        self.channel_mult_noise
            .unwrap_or(self.embedding.noise_multiplier())
    }

    /// Leaves out what is as in the published form, so that one network has one description, hence
    /// one key.
    pub fn normalise(&mut self) {
        let published = self.embedding.noise_multiplier();
        self.channel_mult_noise = self
            .channel_mult_noise
            .filter(|&multiplier| multiplier != published);
    }
}

impl Embedding {
    /// Width of the noise level's features in the published form, in units of `model_channels`
    /// (spec appendix A).
    fn noise_multiplier(self) -> u32 {
        match self {
            Embedding::Ddpmpp => 1,
            Embedding::Ncsnpp => 2,
        }
    }
}

/// Adam, its ramp, and the weights' running mean (spec §7.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserParams {
    /// Images per optimiser step.
    pub batch: u32,
    /// Images per forward pass; `batch` must be a multiple. Part of the key: rounding depends on
    /// it.
    pub micro_batch: u32,
    /// Learning rate after the ramp.
    pub lr: f64,
    /// Linear ramp, in thousand images (10,000 in the paper).
    pub lr_rampup_kimg: f64,
    /// Decay rates of Adam's first and second moment.
    pub betas: (f64, f64),
    /// Term that Adam adds to the denominator.
    pub eps: f64,
    /// Half-life of the EMA, in thousand images (500 in the paper).
    pub ema_halflife_kimg: f64,
    /// EMA ramp-up ratio (0.05); absent for none.
    pub ema_rampup_ratio: Option<f64>,
    /// Mean of ln sigma.
    pub p_mean: f64,
    /// Standard deviation of ln sigma.
    pub p_std: f64,
    /// Factor of the loss before the backward pass.
    pub loss_scaling: f64,
}

/// Images of a budget in thousand images: those of whole batches, rounded up as the reference loop
/// ends (spec §7.5); 0 for nothing.
pub fn whole_batch_images(kimg: f64, batch: u64) -> u64 {
    let batches = ((kimg * 1000.0 / batch as f64) - 1e-9).ceil().max(0.0) as u64;
    batches.saturating_mul(batch)
}

/// Augmentation (spec §7.6). `p` 0 switches the pipe off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentParams {
    /// Probability that the multipliers below are factors of.
    pub p: f64,
    /// Multiplier of the x-flip gate: 1e8 in the paper (half of all images), 0 where mirrored
    /// images are wrong (digits).
    pub xflip: f64,
    /// Multiplier of the y-flip gate.
    pub yflip: f64,
    /// Multiplier of isotropic scaling.
    pub scale: f64,
    /// Multiplier of rotation by any angle.
    pub rotate_frac: f64,
    /// Multiplier of anisotropic scaling.
    pub aniso: f64,
    /// Multiplier of translation by any distance.
    pub translate_frac: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_whole_batches() {
        for (kimg, batch, images) in [
            (0.1, 32, 128),
            (0.128, 32, 128),
            (0.129, 32, 160),
            (1e-6, 32, 32),
            (0.0, 32, 0),
            (-1.0, 32, 0),
            (200_000.0, 1024, 200_000_512),
        ] {
            assert_eq!(
                whole_batch_images(kimg, batch),
                images,
                "{kimg} kimg in batches of {batch}"
            );
        }
        assert_eq!(whole_batch_images(1e300, 32), u64::MAX);
    }

    #[test]
    fn one_network_has_one_description() {
        for (embedding, published) in [(Embedding::Ddpmpp, 1), (Embedding::Ncsnpp, 2)] {
            let mut network = NetworkSpec {
                embedding,
                resolution: 8,
                channels: 3,
                label_dim: 0,
                augment_dim: 0,
                model_channels: 16,
                channel_mult: vec![1, 1],
                channel_mult_emb: 4,
                channel_mult_noise: None,
                num_blocks: 1,
                attn_resolutions: vec![4],
                dropout: 0.0,
                label_dropout: 0.0,
                sigma_data: 0.5,
            };
            network.channel_mult_noise = Some(published);
            network.normalise();
            assert_eq!(
                (network.channel_mult_noise, network.noise_multiplier()),
                (None, published)
            );
            network.channel_mult_noise = Some(published + 1);
            network.normalise();
            assert_eq!(
                (network.channel_mult_noise, network.noise_multiplier()),
                (Some(published + 1), published + 1)
            );
        }
    }
}

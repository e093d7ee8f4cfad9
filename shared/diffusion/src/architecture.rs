//! [`Architecture`]: the constructor arguments of the published SongUNet, without presets.

use crate::DiffusionError;
use cedm_contract::kinds::train::{Embedding, NetworkSpec};

/// SongUNet under EDM preconditioning (spec §7.1, §7.3). Finer than [`NetworkSpec`]: NCSN++ and
/// DDPM++ are two settings of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Height and width of the images in pixels.
    pub resolution: i64,
    /// Channels of the images: 1 or 3.
    pub channels: i64,
    /// Width of the class labels; 0 for an unconditional network.
    pub label_dim: i64,
    /// Width of the augmentation labels; 0 for none.
    pub augment_dim: i64,
    /// Base number of channels of the U-Net.
    pub model_channels: i64,
    /// Channels of each level in units of `model_channels`, from the finest to the coarsest.
    pub channel_mult: Vec<i64>,
    /// Embedding width in units of `model_channels`.
    pub channel_mult_emb: i64,
    /// Width of the noise embedding in units of `model_channels`.
    pub channel_mult_noise: i64,
    /// Residual blocks per level of the encoder; the decoder has one more.
    pub num_blocks: i64,
    /// Resolutions (in pixels) at which blocks have attention.
    pub attn_resolutions: Vec<i64>,
    /// Dropout probability before the second convolution of each block.
    pub dropout: f64,
    /// Probability of replacing a label by zeros in training (for classifier-free guidance).
    pub label_dropout: f64,
    /// Fourier features of the noise level instead of the positional embedding.
    pub fourier: bool,
    /// How the down-sampled image joins the coarser levels of the encoder.
    pub encoder: ImagePath,
    /// Whether every level of the decoder adds to the image, instead of the finest alone.
    pub skip_decoder: bool,
    /// Taps of the resampling filter, not normalised: \[1, 1\] or \[1, 3, 3, 1\].
    pub resample_filter: Vec<f64>,
    /// Expected standard deviation of the data, for the preconditioning.
    pub sigma_data: f64,
}

/// How the down-sampled image joins the coarser levels of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePath {
    /// Not at all: DDPM++ (`encoder_type` standard).
    None,
    /// Filtered down, then added through a 1×1 convolution (`encoder_type` skip).
    Skip,
    /// Convolved down and added; the sum is what the next level convolves down: NCSN++
    /// (`encoder_type` residual).
    Residual,
}

impl TryFrom<&NetworkSpec> for Architecture {
    type Error = DiffusionError;
    fn try_from(spec: &NetworkSpec) -> Result<Self, DiffusionError> {
        let ncsnpp = spec.embedding == Embedding::Ncsnpp;
        let architecture = Self {
            resolution: spec.resolution.into(),
            channels: spec.channels.into(),
            label_dim: spec.label_dim.into(),
            augment_dim: spec.augment_dim.into(),
            model_channels: spec.model_channels.into(),
            channel_mult: spec.channel_mult.iter().map(|&mult| mult.into()).collect(),
            channel_mult_emb: spec.channel_mult_emb.into(),
            channel_mult_noise: spec.noise_multiplier().into(),
            num_blocks: spec.num_blocks.into(),
            attn_resolutions: spec
                .attn_resolutions
                .iter()
                .map(|&side| side.into())
                .collect(),
            dropout: spec.dropout,
            label_dropout: spec.label_dropout,
            fourier: ncsnpp,
            encoder: if ncsnpp {
                ImagePath::Residual
            } else {
                ImagePath::None
            },
            skip_decoder: false,
            resample_filter: if ncsnpp {
                vec![1.0, 3.0, 3.0, 1.0]
            } else {
                vec![1.0, 1.0]
            },
            sigma_data: spec.sigma_data,
        };
        architecture.check()?;
        Ok(architecture)
    }
}

/// Largest width, side or number of blocks.
const MAX_SIZE: i64 = 16_384;
/// Most labels: as many as images of the largest data sets.
const MAX_LABELS: i64 = 100_000_000;

impl Architecture {
    /// Checks that the network can be built.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] naming the first field that is out of range.
    pub fn check(&self) -> Result<(), DiffusionError> {
        let invalid = |field: &'static str, found: String, expected: String| {
            Err(DiffusionError::Setting {
                field,
                found,
                expected,
            })
        };
        for (field, value) in [
            ("resolution", self.resolution),
            ("channels", self.channels),
            ("model_channels", self.model_channels),
            ("channel_mult_emb", self.channel_mult_emb),
            ("channel_mult_noise", self.channel_mult_noise),
            ("num_blocks", self.num_blocks),
        ] {
            if value < 1 {
                return invalid(field, value.to_string(), "at least 1".into());
            }
            // Far above any network: products of these sizes must fit, and memory is reserved by
            // them.
            if value > MAX_SIZE {
                return invalid(field, value.to_string(), format!("at most {MAX_SIZE}"));
            }
        }
        for (field, width) in [
            ("label_dim", self.label_dim),
            ("augment_dim", self.augment_dim),
        ] {
            if !(0..=MAX_LABELS).contains(&width) {
                return invalid(field, width.to_string(), format!("0 to {MAX_LABELS}"));
            }
        }
        if self.channel_mult.is_empty()
            || self
                .channel_mult
                .iter()
                .any(|&mult| !(1..=MAX_SIZE).contains(&mult))
        {
            return invalid(
                "channel_mult",
                format!("{:?}", self.channel_mult),
                "a multiplier of at least 1 for every level".into(),
            );
        }
        // Every level but the finest halves the resolution exactly: the up block doubles it again,
        // and an odd side would not come back to itself.
        let halvings = self.channel_mult.len() - 1;
        if halvings >= 16 || self.resolution % (1 << halvings) != 0 {
            let expected = format!(
                "a multiple of {}, because {} levels halve it {halvings} times",
                1u64 << halvings.min(16),
                halvings + 1
            );
            return invalid("resolution", self.resolution.to_string(), expected);
        }
        // Half of the noise embedding's channels are sines, half cosines; four channels are one
        // group of a group norm.
        if self.model_channels % 2 != 0 || self.model_channels < 4 {
            return invalid(
                "model_channels",
                self.model_channels.to_string(),
                "an even number of at least 4".into(),
            );
        }
        for (field, value) in [
            ("dropout", self.dropout),
            ("label_dropout", self.label_dropout),
        ] {
            if !(0.0..1.0).contains(&value) {
                return invalid(field, value.to_string(), "at least 0 and below 1".into());
            }
        }
        if self.sigma_data <= 0.0 || !self.sigma_data.is_finite() {
            return invalid(
                "sigma_data",
                self.sigma_data.to_string(),
                "a positive number".into(),
            );
        }
        Ok(())
    }

    /// Width of the noise embedding, before the mapping layers.
    pub fn noise_channels(&self) -> i64 {
        self.model_channels * self.channel_mult_noise
    }

    /// Width of the embedding that every block reads.
    pub fn embedding_channels(&self) -> i64 {
        self.model_channels * self.channel_mult_emb
    }
}

/// Number of groups of a group norm over `channels`: four channels each, 32 groups at most (spec
/// §16.1; PyTorch has no default for it).
pub fn group_count(channels: i64) -> i64 {
    (channels / 4).clamp(1, 32)
}

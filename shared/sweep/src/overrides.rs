//! Keys of the sweep file that override single fields of a preset.

use cedm_contract::{
    Precision,
    kinds::{
        sample::{Guidance, LabelSource, SamplerParams, Solver},
        train::{AugmentParams, Embedding, NetworkSpec, OptimiserParams},
    },
};
use serde::Deserialize;

macro_rules! overrides {
    ($name:ident of $target:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[derive(Deserialize, Default)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name { $(pub(super) $field: Option<$type>,)* }

        impl $name {
            /// Writes the given fields over those of `target`.
            pub(super) fn apply(self, target: &mut $target) {
                $(if let Some(value) = self.$field { target.$field = value.into(); })*
            }
        }
    };
}

overrides!(NetworkOverrides of NetworkSpec {
    resolution: u32,
    model_channels: u32,
    channel_mult: Vec<u32>,
    channel_mult_emb: u32,
    channel_mult_noise: u32,
    num_blocks: u32,
    attn_resolutions: Vec<u32>,
    dropout: f64,
    label_dropout: f64,
    embedding: Embedding,
    sigma_data: f64,
});

overrides!(OptimiserOverrides of OptimiserParams {
    batch: u32,
    micro_batch: u32,
    lr: f64,
    lr_rampup_kimg: f64,
    betas: (f64, f64),
    eps: f64,
    ema_halflife_kimg: f64,
    ema_rampup_ratio: RampRatio,
    p_mean: f64,
    p_std: f64,
    loss_scaling: f64,
});

overrides!(AugmentOverrides of AugmentParams {
    p: f64,
    xflip: f64,
    yflip: f64,
    scale: f64,
    rotate_frac: f64,
    aniso: f64,
    translate_frac: f64,
});

overrides!(SamplerOverrides of SamplerParams {
    steps: u32,
    solver: Solver,
    sigma_min: f64,
    sigma_max: f64,
    rho: f64,
    s_churn: f64,
    s_min: f64,
    s_max: f64,
    s_noise: f64,
    guidance: Guidance,
    labels: Labels,
    precision: Precision,
});

/// 0 switches the ramp off.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct RampRatio(f64);

impl From<RampRatio> for Option<f64> {
    fn from(RampRatio(ratio): RampRatio) -> Self {
        (ratio != 0.0).then_some(ratio)
    }
}

/// Where labels of samples come from; a fixed label is for `sampler run`, not for a sweep.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Labels {
    Prior,
    Uniform,
}

impl From<Labels> for LabelSource {
    fn from(labels: Labels) -> Self {
        match labels {
            Labels::Prior => LabelSource::Prior,
            Labels::Uniform => LabelSource::Uniform,
        }
    }
}

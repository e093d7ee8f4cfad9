//! Keys of the sweep file that override single fields of a preset.

use cedm_contract::{
    Precision,
    kinds::{
        adapt::{DinoParams, VitSize},
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

overrides!(AdaptOverrides of DinoParams {
    vit: VitSize,
    epochs: u32,
    batch: u32,
    local_crops: u32,
    local_size: u32,
    global_scale: (f64, f64),
    local_scale: (f64, f64),
    flip: bool,
    colour: bool,
    head: (u32, u32, u32),
    learning_rate: f64,
    last_learning_rate: f64,
    warmup_epochs: u32,
    weight_decay: (f64, f64),
    teacher_momentum: f64,
    student_temperature: f64,
    teacher_temperature: (f64, f64),
    teacher_warmup_epochs: u32,
    center_momentum: f64,
    clip_grad: f64,
    freeze_last_layer: u32,
    seed: u64,
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

/// `ema_rampup_ratio`, where 0 means no ramp.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct RampRatio(f64);

impl From<RampRatio> for Option<f64> {
    fn from(RampRatio(ratio): RampRatio) -> Self {
        (ratio != 0.0).then_some(ratio)
    }
}

/// Where labels of samples come from. A fixed label is only for `cedm-sampler run`.
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

//! Training presets: the paper's (spec §7.5, its table) and small ones for CPUs.

use cedm_contract::{
    Precision,
    kinds::train::{AugmentParams, Embedding, NetworkSpec, OptimiserParams},
};

/// A starting point for `[training]`: every field can be overridden in the sweep file.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// The network, for three channels and without labels.
    pub network: NetworkSpec,
    /// Optimisation.
    pub optimiser: OptimiserParams,
    /// Augmentation.
    pub augment: AugmentParams,
    /// Arithmetic.
    pub precision: Precision,
    /// Budget where the file names none, in thousand images.
    pub budget_kimg: f64,
    /// Steps of the sampler where the file names none.
    pub sampler_steps: u32,
}

/// Gates of the augmentation pipe in every run of the paper: all geometric ones at the overall
/// probability, x-flip always on.
const fn paper_augment(p: f64) -> AugmentParams {
    AugmentParams {
        p,
        xflip: 1e8,
        yflip: 1.0,
        scale: 1.0,
        rotate_frac: 1.0,
        aniso: 1.0,
        translate_frac: 1.0,
    }
}

const NO_AUGMENT: AugmentParams = AugmentParams {
    p: 0.0,
    xflip: 0.0,
    yflip: 0.0,
    scale: 0.0,
    rotate_frac: 0.0,
    aniso: 0.0,
    translate_frac: 0.0,
};

fn ddpmpp(
    resolution: u32,
    model_channels: u32,
    channel_mult: &[u32],
    num_blocks: u32,
    attention: u32,
    dropout: f64,
) -> NetworkSpec {
    NetworkSpec {
        resolution,
        channels: 3,
        label_dim: 0,
        augment_dim: 9,
        model_channels,
        channel_mult: channel_mult.to_vec(),
        channel_mult_emb: 4,
        channel_mult_noise: None,
        num_blocks,
        attn_resolutions: vec![attention],
        dropout,
        label_dropout: 0.0,
        embedding: Embedding::Ddpmpp,
        sigma_data: 0.5,
    }
}

fn paper_optimiser(batch: u32, micro_batch: u32, lr: f64) -> OptimiserParams {
    OptimiserParams {
        batch,
        micro_batch,
        lr,
        lr_rampup_kimg: 10_000.0,
        betas: (0.9, 0.999),
        eps: 1e-8,
        ema_halflife_kimg: 500.0,
        ema_rampup_ratio: Some(0.05),
        p_mean: -1.2,
        p_std: 1.2,
        loss_scaling: 1.0,
    }
}

/// For budgets of some ten thousand images: the ramp and the half-life of the paper (10,000 and 500
/// kimg) would outlast the run.
fn short_optimiser(
    batch: u32,
    lr: f64,
    lr_rampup_kimg: f64,
    ema_halflife_kimg: f64,
) -> OptimiserParams {
    OptimiserParams {
        lr_rampup_kimg,
        ema_halflife_kimg,
        ema_rampup_ratio: Some(0.1),
        ..paper_optimiser(batch, batch, lr)
    }
}

/// Few channels, but embeddings as wide as those of the published NCSN++: 256 for the noise level
/// and the labels added to it, 512 for the blocks. They cost a third of the parameters and next to
/// no time; in 64, the width of the published form at 32 channels, a hundred labels drown the noise
/// level at first (README, "Diffusion").
fn narrow_ncsnpp() -> NetworkSpec {
    NetworkSpec {
        embedding: Embedding::Ncsnpp,
        channel_mult_noise: Some(8),
        channel_mult_emb: 16,
        ..without_augment(ddpmpp(32, 32, &[1, 1, 2, 2], 1, 8, 0.0))
    }
}

fn without_augment(network: NetworkSpec) -> NetworkSpec {
    NetworkSpec {
        augment_dim: 0,
        ..network
    }
}

/// Names of all presets, the paper's first.
pub fn preset_names() -> Vec<&'static str> {
    all().iter().map(|preset| preset.name).collect()
}

/// The preset with this name.
pub fn preset(name: &str) -> Option<Preset> {
    all().into_iter().find(|preset| preset.name == name)
}

fn all() -> Vec<Preset> {
    let cifar = |name, summary| Preset {
        name,
        summary,
        network: ddpmpp(32, 128, &[2, 2, 2], 4, 16, 0.13),
        optimiser: paper_optimiser(1024, 256, 1e-3),
        augment: paper_augment(0.12),
        precision: Precision::Fp32,
        budget_kimg: 100_000.0,
        sampler_steps: 18,
    };
    let faces = |name, summary, resolution, micro_batch, dropout| Preset {
        name,
        summary,
        network: ddpmpp(resolution, 128, &[1, 2, 2, 2], 4, 16, dropout),
        optimiser: paper_optimiser(512, micro_batch, 2e-4),
        augment: paper_augment(0.15),
        precision: Precision::Fp32,
        budget_kimg: 100_000.0,
        sampler_steps: 40,
    };
    vec![
        cifar(
            "cifar10",
            "CIFAR-10 at 32×32, 55.7 M parameters, the paper's settings",
        ),
        cifar(
            "cifar100",
            "CIFAR-100 at 32×32, 55.7 M parameters, the paper's settings",
        ),
        faces(
            "ffhq64",
            "FFHQ at 64×64, 61.8 M parameters, the paper's settings",
            64,
            128,
            0.05,
        ),
        faces(
            "afhq64",
            "AFHQv2 at 64×64, 61.8 M parameters, the paper's settings",
            64,
            128,
            0.25,
        ),
        faces(
            "ffhq128",
            "FFHQ at 128×128, 61.8 M parameters",
            128,
            32,
            0.05,
        ),
        Preset {
            name: "cpu32",
            summary: "32×32 on a CPU: 1.7 M parameters, hours instead of days",
            network: ddpmpp(32, 32, &[1, 2, 2], 2, 8, 0.05),
            optimiser: short_optimiser(64, 1e-3, 20.0, 10.0),
            augment: paper_augment(0.12),
            precision: Precision::Fp32,
            budget_kimg: 500.0,
            sampler_steps: 18,
        },
        Preset {
            name: "cpu32-ncsnpp",
            summary: "32×32 on a CPU, for conditional networks: NCSN++, 2.2 M parameters, 7,500 \
                steps, an hour or two on a core",
            network: narrow_ncsnpp(),
            optimiser: OptimiserParams {
                // Of EDM2's networks on pixels (Karras et al. 2024, ImageNet at 64×64): labels act
                // at high noise, which the noise levels of EDM show a short run too rarely.
                p_mean: -0.8,
                p_std: 1.6,
                // A lower rate and a longer average than `cpu32`: Adam moves a label's vector
                // sqrt(label_dim) times as far as any other weight. Measured: 1e-3 with 10 kimg
                // leaves a conditional network further behind at low noise.
                ..short_optimiser(32, 7e-4, 5.0, 40.0)
            },
            augment: NO_AUGMENT,
            precision: Precision::Fp32,
            budget_kimg: 240.0,
            sampler_steps: 18,
        },
        Preset {
            name: "digits8",
            summary: "8×8 handwritten digits on a CPU: 0.4 M parameters, a minute, no mirrored images",
            network: without_augment(ddpmpp(8, 32, &[1, 1], 2, 4, 0.0)),
            optimiser: short_optimiser(32, 3e-3, 2.0, 2.0),
            augment: NO_AUGMENT,
            precision: Precision::Fp32,
            budget_kimg: 29.0,
            sampler_steps: 18,
        },
        Preset {
            name: "tiny8",
            summary: "8×8, 0.06 M parameters, for tests: seconds",
            network: without_augment(ddpmpp(8, 16, &[1, 1], 1, 4, 0.0)),
            optimiser: short_optimiser(32, 2e-3, 0.5, 0.5),
            augment: NO_AUGMENT,
            precision: Precision::Fp32,
            budget_kimg: 1.0,
            sampler_steps: 6,
        },
    ]
}

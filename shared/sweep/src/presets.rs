//! Training presets: those of the paper (spec §7.5) and small ones for CPUs.

use cedm_contract::{
    Precision,
    kinds::train::{AugmentParams, Embedding, NetworkSpec, OptimiserParams},
};

/// Defaults for `[training]`; the sweep file can override every field.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Name in the sweep file.
    pub name: &'static str,
    /// What it is for, in one line.
    pub summary: &'static str,
    /// Where its numbers come from, and where they are not those of the paper's tables.
    pub sources: &'static str,
    /// The network, for three channels and without labels.
    pub network: NetworkSpec,
    /// Optimiser, averaging of weights, noise levels.
    pub optimiser: OptimiserParams,
    /// Augmentation of training images.
    pub augment: AugmentParams,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// Default budget, in thousands of images.
    pub budget_kimg: f64,
    /// Default number of sampler steps.
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
/// level at first (measured: `tests/bench/README.md`, "Diffusion").
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

/// Sources of the presets. "Script" is the training script that the authors published, "table" the
/// paper's Table 7; Table 8 is TEMI's, whose numbers are the defaults of `[clustering.temi]`.
const CIFAR_SOURCES: &str = "batch 1024, lr 0.001, dropout 0.13, augmentation 0.12, 18 steps: the \
    authors' script (EDM's batch is 512). Ramp, EMA and loss: EDM. Table 7 says FP16; here FP32, EDM's \
    own choice, and `precision = \"fp16\"` gives the script's. Budget: the search for C (App. E); the \
    published scores are after 200,000 kimg";
const FFHQ_SOURCES: &str = "batch 512: the authors' script (EDM: 256). lr 2e-4: the script and EDM; \
    Table 7 prints 0.001, and it is not known which of the two made the published numbers. Dropout \
    0.05, augmentation 0.15, 40 steps: EDM and the script. Table 7 says FP16; here FP32, as for \
    `cifar10`. Budget: the search for C (App. E)";
const AFHQ_SOURCES: &str = "as `ffhq64`, also where Table 7 prints lr 0.001 and FP16; dropout 0.25 is \
    EDM's for AFHQv2";
const FFHQ128_SOURCES: &str = "shape: inferred from the published 61.86 M parameters; the paper gives \
    no other setting, and those of `ffhq64` stand in for them";
const OWN_SOURCES: &str = "this project's own, for small machines; the paper has no such network";

fn all() -> Vec<Preset> {
    let cifar = |name, summary| Preset {
        name,
        summary,
        sources: CIFAR_SOURCES,
        network: ddpmpp(32, 128, &[2, 2, 2], 4, 16, 0.13),
        optimiser: paper_optimiser(1024, 256, 1e-3),
        augment: paper_augment(0.12),
        precision: Precision::Fp32,
        budget_kimg: 100_000.0,
        sampler_steps: 18,
    };
    let faces = |(name, summary, sources), resolution, micro_batch, dropout| Preset {
        name,
        summary,
        sources,
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
            (
                "ffhq64",
                "FFHQ at 64×64, 61.8 M parameters, the settings of the authors' script",
                FFHQ_SOURCES,
            ),
            64,
            128,
            0.05,
        ),
        faces(
            (
                "afhq64",
                "AFHQv2 at 64×64, 61.8 M parameters, the settings of the authors' script",
                AFHQ_SOURCES,
            ),
            64,
            128,
            0.25,
        ),
        faces(
            (
                "ffhq128",
                "FFHQ at 128×128, 61.8 M parameters",
                FFHQ128_SOURCES,
            ),
            128,
            32,
            0.05,
        ),
        Preset {
            name: "cpu32",
            summary: "32×32 on a CPU: 1.7 M parameters, hours instead of days",
            sources: OWN_SOURCES,
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
            sources: OWN_SOURCES,
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
            sources: OWN_SOURCES,
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
            sources: OWN_SOURCES,
            network: without_augment(ddpmpp(8, 16, &[1, 1], 1, 4, 0.0)),
            optimiser: short_optimiser(32, 2e-3, 0.5, 0.5),
            augment: NO_AUGMENT,
            precision: Precision::Fp32,
            budget_kimg: 1.0,
            sampler_steps: 6,
        },
    ]
}

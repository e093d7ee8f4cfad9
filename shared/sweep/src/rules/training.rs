//! What must hold of `[training]` beyond its types.

use super::{Findings, Section};
use crate::TrainingSpec;
use cedm_contract::kinds::train::{AugmentParams, NetworkSpec, OptimiserParams};

pub(super) fn resolved(training: &TrainingSpec, findings: &mut Findings) {
    let TrainingSpec {
        network,
        optimiser,
        augment,
        ..
    } = training;
    let paths = ["training.network", "training.optimiser", "training.augment"];
    check_all((network, optimiser, augment), paths, findings);
}

/// Checks the three parts of a training, each at its path.
fn check_all(
    (network, optimiser, augment): (&NetworkSpec, &OptimiserParams, &AugmentParams),
    [at_network, at_optimiser, at_augment]: [&str; 3],
    findings: &mut Findings,
) {
    let path = at_network;
    check_network(network, Section { path, findings });
    let path = at_optimiser;
    check_optimiser(optimiser, Section { path, findings });
    let path = at_augment;
    check_augment(augment, Section { path, findings });
}

/// What is wrong with settings of a training that do not come from a sweep file; empty for nothing.
/// These are the rules of `[training]`.
pub fn training_faults(
    network: &NetworkSpec,
    optimiser: &OptimiserParams,
    augment: &AugmentParams,
) -> Vec<String> {
    let mut findings = Findings::default();
    check_all(
        (network, optimiser, augment),
        ["network", "optimiser", "augment"],
        &mut findings,
    );
    findings.into_messages()
}

fn check_network(network: &NetworkSpec, mut at: Section<'_>) {
    at.at_least("model_channels", u64::from(network.model_channels), 4);
    let even = network.model_channels.is_multiple_of(4);
    at.check(
        even,
        "model_channels",
        format!(
            "`model_channels` is {}: expected a multiple of 4 (group normalisation)",
            network.model_channels
        ),
    );
    at.at_least("channel_mult_emb", u64::from(network.channel_mult_emb), 1);
    at.at_least(
        "channel_mult_noise",
        network.channel_mult_noise.map_or(1, u64::from),
        1,
    );
    at.at_least("num_blocks", u64::from(network.num_blocks), 1);
    at.below_one("dropout", network.dropout);
    at.fraction("label_dropout", network.label_dropout);
    at.positive("sigma_data", network.sigma_data);
    let levels = network.channel_mult.len();
    at.check(
        levels > 0,
        "channel_mult",
        "no level: expected a multiplier for each level, such as [2, 2, 2]",
    );
    at.check(
        network.channel_mult.iter().all(|m| *m >= 1),
        "channel_mult",
        "a multiplier of 0: expected at least 1",
    );
    if levels == 0 {
        return;
    }
    let halvings = u32::try_from(levels - 1).unwrap_or(u32::MAX).min(31);
    let divisible = network.resolution > 0 && network.resolution.is_multiple_of(1 << halvings);
    let message = format!(
        "{} pixels cannot be halved {halvings} times: `channel_mult` has {levels} levels",
        network.resolution
    );
    at.check(divisible, "channel_mult", message);
    if divisible {
        let sides: Vec<u32> = (0..=halvings)
            .map(|level| network.resolution >> level)
            .collect();
        for side in &network.attn_resolutions {
            let message = format!(
                "`attn_resolutions` has {side}: expected a side of the network's levels, {}",
                sides
                    .iter()
                    .map(u32::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            at.check(sides.contains(side), "attn_resolutions", message);
        }
    }
}

fn check_optimiser(optimiser: &OptimiserParams, mut at: Section<'_>) {
    at.at_least("batch", u64::from(optimiser.batch), 1);
    at.at_least("micro_batch", u64::from(optimiser.micro_batch), 1);
    if optimiser.micro_batch >= 1 {
        let message = format!(
            "`batch` {} is not a multiple of `micro_batch` {}",
            optimiser.batch, optimiser.micro_batch
        );
        at.check(
            optimiser.batch.is_multiple_of(optimiser.micro_batch),
            "micro_batch",
            message,
        );
    }
    for (key, value) in [
        ("lr", optimiser.lr),
        ("eps", optimiser.eps),
        ("p_std", optimiser.p_std),
        ("loss_scaling", optimiser.loss_scaling),
    ] {
        at.positive(key, value);
    }
    at.check_value(
        optimiser.p_mean.is_finite(),
        "p_mean",
        optimiser.p_mean,
        "a finite number",
    );
    at.not_negative("lr_rampup_kimg", optimiser.lr_rampup_kimg);
    at.not_negative("ema_halflife_kimg", optimiser.ema_halflife_kimg);
    if let Some(ratio) = optimiser.ema_rampup_ratio {
        at.positive("ema_rampup_ratio", ratio);
    }
    at.below_one("betas", optimiser.betas.0);
    at.below_one("betas", optimiser.betas.1);
}

fn check_augment(augment: &AugmentParams, mut at: Section<'_>) {
    at.fraction("p", augment.p);
    for (key, value) in [
        ("xflip", augment.xflip),
        ("yflip", augment.yflip),
        ("scale", augment.scale),
        ("rotate_frac", augment.rotate_frac),
        ("aniso", augment.aniso),
        ("translate_frac", augment.translate_frac),
    ] {
        at.not_negative(key, value);
    }
}

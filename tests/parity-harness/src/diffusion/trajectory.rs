//! Whole training runs with prescribed draws, through the trainer's own step: losses, gradient
//! norms, weights, EMA and moments of every step.

use super::{Case, KINDS, Model, comparison, double, max_abs, tables, worst_relative};
use crate::fixture::{Comparison, Fixture};
use anyhow::Context;
use cedm_contract::Precision;
use cedm_diffusion::{
    Batch, Learner,
    loss::{Noise, normalise},
    schedule::ema_beta,
};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// A `trajectory` fixture: several training steps in a row.
pub fn check(fixture: &Fixture) -> anyhow::Result<Vec<Comparison>> {
    let case = Case::open(fixture)?;
    let hyper = fixture.json("hyper").context("metadata `hyper`")?;
    let params = tables::optimiser(&hyper);
    let steps = case.get("images_u8")?.size()[0];
    let rounds = case.get("images_u8")?.size()[1];
    let mut comparisons = Vec::new();
    for (kind, name) in KINDS {
        let exact = kind == Kind::Double;
        let pick = |tight: f64, loose: f64| if exact { tight } else { loose };
        let Model {
            network,
            parameters,
            ..
        } = Model::open(fixture, &case, kind)?;
        let mut learner =
            Learner::new(network.clone(), parameters, params.clone(), Precision::Fp32);
        let (mut losses, mut norms, mut counts, mut rates, mut betas) =
            (vec![], vec![], vec![], vec![], vec![]);
        let mut tracked = 0.0f64;
        let names: Vec<&str> = network
            .layout
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        let named = |pieces: Vec<Tensor>| {
            names
                .iter()
                .copied()
                .zip(pieces)
                .collect::<BTreeMap<&str, Tensor>>()
        };
        let worst = |prefix: &str,
                     pieces: &BTreeMap<&str, Tensor>,
                     step: Option<i64>|
         -> anyhow::Result<f64> {
            let mut worst = 0.0f64;
            for (parameter, expected) in case.below(prefix) {
                let found = pieces
                    .get(parameter)
                    .with_context(|| format!("parameter {parameter}"))?;
                let expected =
                    step.map_or_else(|| expected.shallow_clone(), |step| expected.get(step));
                worst = worst.max(max_abs(
                    &without_key_bias(parameter, found),
                    &without_key_bias(parameter, &expected),
                ));
            }
            Ok(worst)
        };
        for step in 0..=steps {
            if exact {
                let (weights, means) = (
                    split_by_parameter(&learner, &learner.weights.flat),
                    split_by_parameter(&learner, &learner.ema),
                );
                tracked = tracked.max(worst("track_f64/", &named(weights), Some(step))?);
                tracked = tracked.max(worst("track_ema_f64/", &named(means), Some(step))?);
            }
            if step == steps {
                break;
            }
            let draws: Vec<Batch> = (0..rounds)
                .map(|round| stored_draws(&case, step, round, kind))
                .collect::<anyhow::Result<_>>()?;
            counts.push(learner.nimg as i64);
            betas.push(ema_beta(&params, learner.nimg));
            let taken = learner.step(&draws, &mut |_| ());
            norms.push(taken.gradient_norm.double_value(&[]));
            rates.push(taken.lr);
            losses.push(double(&taken.round_losses));
        }
        let found_losses = Tensor::stack(&losses, 0);
        let (l, n) = (case.get("loss_mean_f64")?, case.get("gradnorm_f64")?);
        comparisons.push(comparison(
            format!("{name} losses, rel"),
            worst_relative(&found_losses, l),
            pick(1e-9, 1e-5),
        ));
        comparisons.push(comparison(
            format!("{name} gradient norms, rel"),
            worst_relative(&Tensor::from_slice(&norms), n),
            pick(1e-9, 1e-5),
        ));
        comparisons.push(comparison(
            format!("{name} cur_nimg"),
            max_abs(&Tensor::from_slice(&counts), case.get("cur_nimg")?),
            0.0,
        ));
        comparisons.push(comparison(
            format!("{name} lr, rel"),
            worst_relative(&Tensor::from_slice(&rates), case.get("lr")?),
            1e-12,
        ));
        comparisons.push(comparison(
            format!("{name} EMA beta, rel"),
            worst_relative(&Tensor::from_slice(&betas), case.get("ema_beta")?),
            1e-12,
        ));
        let weights = named(split_by_parameter(&learner, &learner.weights.flat));
        let means = named(split_by_parameter(&learner, &learner.ema));
        for (what, prefix, pieces) in [("final", "final", &weights), ("EMA", "ema", &means)] {
            let prefix = format!("{prefix}_{name}/");
            comparisons.push(comparison(
                format!("{name} {what} weights, max abs"),
                worst(&prefix, pieces, None)?,
                pick(1e-9, 5e-6),
            ));
            comparisons.push(comparison(
                format!("{name} {what} weights, rel L2"),
                relative_over_parameters(&case, &prefix, pieces)?,
                pick(1e-9, 1e-6),
            ));
        }
        if exact {
            comparisons.push(comparison(
                "f64 tracked weights and EMA of every step, max abs",
                tracked,
                1e-9,
            ));
            let moments = [
                ("adam_exp_avg_f64/", &learner.moments.first),
                ("adam_exp_avg_sq_f64/", &learner.moments.second),
            ];
            for (prefix, moment) in moments {
                let moment = named(split_by_parameter(&learner, moment));
                comparisons.push(comparison(
                    format!("f64 {}, max abs", prefix.trim_end_matches("_f64/")),
                    worst(prefix, &moment, None)?,
                    1e-9,
                ));
            }
        }
    }
    Ok(comparisons)
}

/// A flat tensor by the network's entries.
fn split_by_parameter(learner: &Learner, flat: &Tensor) -> Vec<Tensor> {
    learner.weights.split(&learner.network.layout, flat)
}

/// The stored draws of one round.
fn stored_draws(case: &Case, step: i64, round: i64, kind: Kind) -> anyhow::Result<Batch> {
    let draw = |name: &str| {
        case.find(name)
            .map(|tensor| tensor.get(step).get(round).to_kind(kind))
    };
    Ok(Batch {
        part: None,
        images: normalise(&case.get("images_u8")?.get(step).get(round), kind),
        class: draw("class_labels"),
        augment: draw("augment_labels"),
        noise: Noise {
            rnd_normal: draw("rnd_normal").context("rnd_normal")?,
            unit: draw("noise").context("noise")?,
        },
    })
}

/// Entries 1, 4, 7, … of a `qkv.bias` are key biases: softmax cancels them, so their gradient is
/// rounding noise.
fn without_key_bias(parameter: &str, tensor: &Tensor) -> Tensor {
    if !parameter.ends_with("qkv.bias") {
        return double(tensor);
    }
    let kept: Vec<i64> = (0..tensor.size()[0])
        .filter(|index| index % 3 != 1)
        .collect();
    double(tensor).index_select(0, &Tensor::from_slice(&kept))
}

fn relative_over_parameters(
    case: &Case,
    prefix: &str,
    pieces: &BTreeMap<&str, Tensor>,
) -> anyhow::Result<f64> {
    let (mut difference, mut size) = (0.0f64, 0.0f64);
    for (parameter, expected) in case.below(prefix) {
        let found = without_key_bias(
            parameter,
            pieces
                .get(parameter)
                .with_context(|| format!("parameter {parameter}"))?,
        );
        let expected = without_key_bias(parameter, expected);
        difference += (found - &expected)
            .square()
            .sum(Kind::Double)
            .double_value(&[]);
        size += expected.square().sum(Kind::Double).double_value(&[]);
    }
    Ok((difference / size.max(1e-300)).sqrt())
}

//! Whole training runs with prescribed draws: losses, gradient norms, weights, EMA and moments of every step.

use super::{Case, KINDS, Model, double, line, max_abs, tables, worst_relative};
use crate::fixture::{Fixture, Line};
use anyhow::Context;
use cedm_diffusion::{
    Labels, Mode,
    adam::{Adam, norm},
    loss::{Noise, loss_map, normalise},
    precondition::NoiseLevels,
    schedule::{ema_beta, learning_rate},
};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// A `trajectory` case.
pub fn check(fixture: &Fixture) -> anyhow::Result<Vec<Line>> {
    let case = Case::open(fixture)?;
    let hyper = fixture.json("hyper").context("metadata `hyper`")?;
    let params = tables::optimiser(&hyper);
    let levels = NoiseLevels {
        p_mean: params.p_mean,
        p_std: params.p_std,
    };
    let steps = case.get("images_u8")?.size()[0];
    let rounds = case.get("images_u8")?.size()[1];
    let mut lines = Vec::new();
    for (kind, name) in KINDS {
        let exact = kind == Kind::Double;
        let pick = |tight: f64, loose: f64| if exact { tight } else { loose };
        let Model { network, mut parameters } = Model::open(fixture, &case, kind)?;
        let mut ema = parameters.flat.copy();
        let mut adam = Adam::new(&parameters.flat);
        let mut nimg = 0u64;
        let (mut losses, mut norms, mut counts, mut rates, mut betas) = (vec![], vec![], vec![], vec![], vec![]);
        let mut tracked = 0.0f64;
        let names: Vec<&str> = network.layout.entries.iter().map(|entry| entry.name.as_str()).collect();
        let named = |pieces: Vec<Tensor>| names.iter().copied().zip(pieces).collect::<BTreeMap<&str, Tensor>>();
        let worst = |prefix: &str, pieces: &BTreeMap<&str, Tensor>, step: Option<i64>| -> anyhow::Result<f64> {
            let mut worst = 0.0f64;
            for (parameter, expected) in case.below(prefix) {
                let found = pieces.get(parameter).with_context(|| format!("parameter {parameter}"))?;
                let expected = step.map_or_else(|| expected.shallow_clone(), |step| expected.get(step));
                worst = worst.max(max_abs(
                    &without_key_bias(parameter, found),
                    &without_key_bias(parameter, &expected),
                ));
            }
            Ok(worst)
        };
        for step in 0..=steps {
            if exact {
                let weights = named(parameters.split(&network.layout, &parameters.flat));
                tracked = tracked.max(worst("track_f64/", &weights, Some(step))?);
                tracked = tracked.max(worst(
                    "track_ema_f64/",
                    &named(parameters.split(&network.layout, &ema)),
                    Some(step),
                )?);
            }
            if step == steps {
                break;
            }
            parameters.flat = parameters.flat.set_requires_grad(true);
            let mut maps = Vec::new();
            for round in 0..rounds {
                let draw = |name: &str| case.find(name).map(|tensor| tensor.get(step).get(round).to_kind(kind));
                let images = normalise(&case.get("images_u8")?.get(step).get(round), kind);
                let noise = Noise {
                    rnd_normal: draw("rnd_normal").context("rnd_normal")?,
                    unit: draw("noise").context("noise")?,
                };
                let (class, augment) = (draw("class_labels"), draw("augment_labels"));
                let labels = Labels {
                    class: class.as_ref(),
                    augment: augment.as_ref(),
                };
                let views = parameters.views(&network.layout, None);
                let map = loss_map(
                    &network,
                    &views,
                    &images,
                    &noise,
                    levels,
                    labels,
                    Mode { train: true, ..Mode::EVAL },
                );
                (map.sum(kind) * (params.loss_scaling / f64::from(params.batch))).backward();
                maps.push(map.detach().mean(Kind::Double));
            }
            let mut gradient = parameters.flat.grad();
            parameters.flat = parameters.flat.set_requires_grad(false);
            norms.push(norm(&gradient).double_value(&[]));
            counts.push(nimg as i64);
            rates.push(learning_rate(&params, nimg));
            betas.push(ema_beta(&params, nimg));
            adam.step(
                &mut parameters.flat,
                &gradient,
                learning_rate(&params, nimg),
                params.betas,
                params.eps,
            );
            ema = tch::no_grad(|| parameters.flat.lerp(&ema, ema_beta(&params, nimg)));
            let _ = gradient.zero_();
            nimg += u64::from(params.batch);
            losses.push(Tensor::stack(&maps, 0));
        }
        let found_losses = Tensor::stack(&losses, 0);
        let (l, n) = (case.get("loss_mean_f64")?, case.get("gradnorm_f64")?);
        lines.push(line(
            format!("{name} losses, rel"),
            worst_relative(&found_losses, l),
            pick(1e-9, 1e-5),
        ));
        lines.push(line(
            format!("{name} gradient norms, rel"),
            worst_relative(&Tensor::from_slice(&norms), n),
            pick(1e-9, 1e-5),
        ));
        lines.push(line(
            format!("{name} cur_nimg"),
            max_abs(&Tensor::from_slice(&counts), case.get("cur_nimg")?),
            0.0,
        ));
        lines.push(line(
            format!("{name} lr, rel"),
            worst_relative(&Tensor::from_slice(&rates), case.get("lr")?),
            1e-12,
        ));
        lines.push(line(
            format!("{name} EMA beta, rel"),
            worst_relative(&Tensor::from_slice(&betas), case.get("ema_beta")?),
            1e-12,
        ));
        let weights = named(parameters.split(&network.layout, &parameters.flat));
        let means = named(parameters.split(&network.layout, &ema));
        for (what, prefix, pieces) in [("final", "final", &weights), ("EMA", "ema", &means)] {
            let prefix = format!("{prefix}_{name}/");
            lines.push(line(
                format!("{name} {what} weights, max abs"),
                worst(&prefix, pieces, None)?,
                pick(1e-9, 5e-6),
            ));
            lines.push(line(
                format!("{name} {what} weights, rel L2"),
                relative_over(&case, &prefix, pieces)?,
                pick(1e-9, 1e-6),
            ));
        }
        if exact {
            lines.push(line("f64 tracked weights and EMA of every step, max abs", tracked, 1e-9));
            let moments = [("adam_exp_avg_f64/", &adam.exp_avg), ("adam_exp_avg_sq_f64/", &adam.exp_avg_sq)];
            for (prefix, moment) in moments {
                let pieces = named(parameters.split(&network.layout, moment));
                lines.push(line(
                    format!("f64 {}, max abs", prefix.trim_end_matches("_f64/")),
                    worst(prefix, &pieces, None)?,
                    1e-9,
                ));
            }
        }
    }
    Ok(lines)
}

/// Entries 1, 4, 7, … of a `qkv.bias` are key biases: softmax cancels them, so their gradient is rounding noise.
fn without_key_bias(parameter: &str, tensor: &Tensor) -> Tensor {
    if !parameter.ends_with("qkv.bias") {
        return double(tensor);
    }
    let kept: Vec<i64> = (0..tensor.size()[0]).filter(|index| index % 3 != 1).collect();
    double(tensor).index_select(0, &Tensor::from_slice(&kept))
}

fn relative_over(case: &Case, prefix: &str, pieces: &BTreeMap<&str, Tensor>) -> anyhow::Result<f64> {
    let (mut difference, mut size) = (0.0f64, 0.0f64);
    for (parameter, expected) in case.below(prefix) {
        let found = without_key_bias(parameter, pieces.get(parameter).with_context(|| format!("parameter {parameter}"))?);
        let expected = without_key_bias(parameter, expected);
        difference += (found - &expected).square().sum(Kind::Double).double_value(&[]);
        size += expected.square().sum(Kind::Double).double_value(&[]);
    }
    Ok((difference / size.max(1e-300)).sqrt())
}

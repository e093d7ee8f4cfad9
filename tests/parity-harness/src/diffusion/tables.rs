//! Preconditioning coefficients, loss weights, and the tables of learning rate and EMA.

use super::{Case, KINDS, comparison, max_abs, worst_relative};
use crate::fixture::{Comparison, Fixture};
use anyhow::Context;
use cedm_contract::kinds::train::OptimiserParams;
use cedm_diffusion::{
    precondition::{Coefficients, NoiseLevels, Preconditioning},
    schedule::{ema_beta, learning_rate},
};
use serde_json::Value;
use tch::{Kind, Tensor};

/// A `precond` fixture: c_skip, c_out, c_in and c_noise.
pub fn preconditioning(fixture: &Fixture) -> anyhow::Result<Vec<Comparison>> {
    let case = Case::open(fixture)?;
    let config = fixture.json("config").context("metadata `config`")?;
    let number = |name: &str, default| config[name].as_f64().unwrap_or(default);
    let own = Preconditioning {
        sigma_data: number("sigma_data", 0.5),
    };
    let levels = NoiseLevels {
        p_mean: number("P_mean", -1.2),
        p_std: number("P_std", 1.2),
    };
    let mut comparisons = Vec::new();
    for (kind, name) in KINDS {
        let exact = kind == Kind::Double;
        let Coefficients {
            c_skip,
            c_out,
            c_in,
            c_noise,
        } = own.at(&case.get("sigma")?.to_kind(kind));
        let sigma = levels.of(&case.get("rnd_normal")?.to_kind(kind));
        let weight = own.loss_weight(&sigma);
        let relative = [
            ("c_skip", &c_skip, 5e-7),
            ("c_out", &c_out, 5e-7),
            ("c_in", &c_in, 5e-7),
            ("train_sigma", &sigma, 2e-6),
            ("loss_weight", &weight, 5e-6),
        ];
        for (what, found, allowed) in relative {
            let expected = case.get(&format!("{what}_f64"))?;
            comparisons.push(comparison(
                format!("{name} {what}, rel"),
                worst_relative(found, expected),
                if exact { 1e-13 } else { allowed },
            ));
        }
        let error = max_abs(&c_noise, case.get("c_noise_f64")?);
        comparisons.push(comparison(
            format!("{name} c_noise, max abs"),
            error,
            if exact { 1e-13 } else { 5e-7 },
        ));
    }
    Ok(comparisons)
}

/// A `tables` fixture: time grids and schedules of hyperparameters.
pub fn schedules(fixture: &Fixture) -> anyhow::Result<Vec<Comparison>> {
    let case = Case::open(fixture)?;
    let settings = fixture.json("settings").context("metadata `settings`")?;
    let mut comparisons = Vec::new();
    for (name, setting) in settings
        .as_object()
        .context("`settings` is not an object")?
    {
        let params = optimiser(setting);
        let nimg = Vec::<i64>::try_from(case.get(&format!("{name}/nimg"))?)?;
        let table = |of: fn(&OptimiserParams, u64) -> f64| {
            Tensor::from_slice(
                &nimg
                    .iter()
                    .map(|&n| of(&params, n as u64))
                    .collect::<Vec<_>>(),
            )
        };
        comparisons.push(comparison(
            format!("{name} lr, rel"),
            worst_relative(&table(learning_rate), case.get(&format!("{name}/lr"))?),
            1e-12,
        ));
        comparisons.push(comparison(
            format!("{name} EMA beta, rel"),
            worst_relative(&table(ema_beta), case.get(&format!("{name}/ema_beta"))?),
            1e-12,
        ));
    }
    Ok(comparisons)
}

/// Optimiser settings of a fixture; absent ones have upstream's defaults.
pub fn optimiser(setting: &Value) -> OptimiserParams {
    let number = |name: &str, default: f64| setting[name].as_f64().unwrap_or(default);
    let batch = number("batch", number("batch_size", 512.0)) as u32;
    let betas = setting["betas"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_f64).collect::<Vec<_>>())
        .unwrap_or_default();
    OptimiserParams {
        batch,
        micro_batch: number("batch_gpu", f64::from(batch)) as u32,
        lr: number("lr", 1e-3),
        lr_rampup_kimg: number("lr_rampup_kimg", 10_000.0),
        betas: (
            betas.first().copied().unwrap_or(0.9),
            betas.get(1).copied().unwrap_or(0.999),
        ),
        eps: number("eps", 1e-8),
        ema_halflife_kimg: number("ema_halflife_kimg", 500.0),
        ema_rampup_ratio: if setting["ema_rampup_ratio"].is_null() {
            None
        } else {
            setting["ema_rampup_ratio"].as_f64()
        },
        p_mean: number("P_mean", -1.2),
        p_std: number("P_std", 1.2),
        loss_scaling: number("loss_scaling", 1.0),
    }
}

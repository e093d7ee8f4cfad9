//! Fixtures of clustering, by `config.case`; the bound by the keys of its JSON.

mod bound;
mod heads;
mod kmeans;
mod knn;
mod loss;
mod real;
mod trajectory;

use crate::fixture::{Case, Comparison, Fixture, Verdict};
use anyhow::Context;
use cedm_contract::kinds::cluster::TemiParams;
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Checks one file of this kind.
pub fn check(fixture: &Fixture) -> anyhow::Result<Verdict> {
    if fixture.extension() == "json" {
        return bound::check(fixture);
    }
    let Some(config) = fixture.json("config") else {
        return Ok(Verdict::NotRecognised);
    };
    let check = match config["case"].as_str() {
        Some("knn_cosine") => knn::nearest_rows,
        Some("temi_head_forward") => heads::forward,
        Some("temi_loss") => loss::steps,
        Some("temi_trajectory") => trajectory::training,
        Some("kmeans_lloyd") => kmeans::iterations,
        Some("real_assignments") => real::published,
        _ => return Ok(Verdict::NotRecognised),
    };
    let case = Case::open(fixture, config)?;
    Ok(Verdict::Checked(check(&case)?))
}

const KINDS: [(Kind, &str); 2] = [(Kind::Double, "f64"), (Kind::Float, "f32")];

impl Case {
    fn setting(&self, name: &str) -> anyhow::Result<f64> {
        self.config[name]
            .as_f64()
            .with_context(|| format!("config `{name}` is not a number"))
    }
    fn flag(&self, name: &str) -> bool {
        self.config[name].as_bool().unwrap_or(false)
    }
    /// Tensors below a prefix, without it, in one precision.
    fn below(&self, prefix: &str, kind: Kind) -> HashMap<String, Tensor> {
        let strip = |(name, tensor): (&String, &Tensor)| {
            let floating = matches!(tensor.kind(), Kind::Float | Kind::Double);
            Some((
                name.strip_prefix(prefix)?.to_owned(),
                if floating {
                    tensor.to_kind(kind)
                } else {
                    tensor.shallow_clone()
                },
            ))
        };
        self.tensors.iter().filter_map(strip).collect()
    }
    /// Settings of the loss and the optimiser that the fixture names; upstream's defaults for
    /// others.
    fn params(&self) -> TemiParams {
        let standard = TemiParams::default();
        let number = |name: &str, otherwise: f64| self.config[name].as_f64().unwrap_or(otherwise);
        TemiParams {
            heads: number("H", 1.0) as u32,
            layers: number("nlayers", 2.0) as u32,
            hidden: number("hidden_dim", 512.0) as u32,
            bottleneck: number("bottleneck_dim", 256.0) as u32,
            beta: number("beta", standard.beta),
            weighted: true,
            positive_pmi: self.flag("positive_pmi"),
            student_temperature: number("student_temp", 0.1),
            teacher_temperature_start: number("warmup_teacher_temp", 0.1),
            teacher_temperature: number("teacher_temp", 0.1),
            teacher_temperature_warmup_epochs: number("warmup_teacher_temp_epochs", 0.0) as u32,
            marginal_momentum: number("probs_momentum", 0.9),
            epochs: number("epochs", 1.0) as u32,
            batch: number("B", 512.0) as u32,
            base_lr: number("lr", standard.base_lr),
            min_lr: number("min_lr", standard.min_lr),
            warmup_epochs: number("warmup_epochs", 0.0) as u32,
            weight_decay: number("weight_decay", standard.weight_decay),
            weight_decay_end: number("weight_decay_end", standard.weight_decay_end),
            betas: (
                number("adam_beta1", standard.betas.0),
                number("adam_beta2", standard.betas.1),
            ),
            eps: number("adam_eps", standard.eps),
            teacher_momentum: number("momentum_teacher", standard.teacher_momentum),
            teacher_momentum_end: number("max_momentum_teacher", standard.teacher_momentum_end),
            freeze_last_layer_epochs: number("freeze_last_layer_epochs", 1.0) as u32,
            clip: number("clip_grad", 0.0),
            standardise: self.flag("standardise"),
            l2_norm: self.flag("l2_norm"),
            neighbours: number("k", 50.0) as u32,
        }
    }
}

/// Largest |found − expected|; NaN where shapes differ or a value is NaN.
fn max_abs_error(found: &Tensor, expected: &Tensor) -> f64 {
    if found.size() != expected.size() {
        return f64::NAN;
    }
    (found.to_kind(Kind::Double) - expected.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

/// [`max_abs_error`] over the largest |expected|.
fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    max_abs_error(found, expected)
        / expected
            .abs()
            .max()
            .double_value(&[])
            .max(f64::MIN_POSITIVE)
}

/// Number of places in which two lists differ.
fn count_differences(found: &[i64], expected: &[i64]) -> f64 {
    let places = found.iter().zip(expected).filter(|(a, b)| a != b).count();
    (places + found.len().abs_diff(expected.len())) as f64
}

/// The larger of two errors; NaN wins.
fn larger_error(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn comparison(what: impl Into<String>, error: f64, tolerance: f64) -> Comparison {
    Comparison::new(what, error, tolerance)
}

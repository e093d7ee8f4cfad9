//! Fixtures of metrics, by `config.case`; reference statistics by the arrays of an npz file.

mod distance;
mod neighbours;
mod partition;
mod set_scores;
mod statistics;

use crate::fixture::{Case, Comparison, Fixture, Verdict};
use anyhow::bail;
use cedm_maths::Features;
use serde_json::Value;
use tch::{Kind, Tensor};

/// Checks one file of this kind.
pub fn check(fixture: &Fixture) -> anyhow::Result<Verdict> {
    if fixture.extension() == "npz" {
        return statistics::check(fixture);
    }
    let Some(config) = fixture.json("config") else {
        return Ok(Verdict::NotRecognised);
    };
    let check = match config["case"].as_str() {
        Some("frechet") => distance::frechet_distance,
        Some("kid_unbiased_poly") => distance::kernel_distance,
        Some("prdc") => neighbours::balls,
        Some("ct_score") => neighbours::copying,
        Some("ood_1nn_cosine") => neighbours::out_of_distribution,
        Some("inception_score") => set_scores::inception,
        Some("vendi") => set_scores::vendi_score,
        Some("max_softmax_confidence") => set_scores::softmax_confidence,
        Some("partition_metrics") => partition::agreement_of_partitions,
        _ => return Ok(Verdict::NotRecognised),
    };
    let case = Case::open(fixture, config)?;
    Ok(Verdict::Checked(check(&case)?))
}

impl Case {
    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A feature matrix in the precision that is being checked.
    fn features(&self, name: &str, precision: Precision) -> anyhow::Result<Features> {
        let features = Features::new(name, self.tensor(name)?)?;
        Ok(match precision {
            Precision::Double => features.double(),
            Precision::Single => features.single(),
        })
    }

    /// A number of the metadata by its path.
    fn number(&self, path: &[&str]) -> anyhow::Result<f64> {
        number(&self.config, path)
    }
}

fn number(value: &Value, path: &[&str]) -> anyhow::Result<f64> {
    let found = path.iter().fold(value, |value, key| &value[*key]);
    match found.as_f64() {
        Some(number) => Ok(number),
        None => bail!("metadata has no number at {}", path.join(".")),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Precision {
    Double,
    Single,
}

impl Precision {
    const BOTH: [Precision; 2] = [Precision::Double, Precision::Single];

    fn name(self) -> &'static str {
        match self {
            Precision::Double => "f64",
            Precision::Single => "f32",
        }
    }
}

/// |found − expected| / |expected|.
fn relative(found: f64, expected: f64) -> f64 {
    (found - expected).abs() / expected.abs().max(f64::MIN_POSITIVE)
}

/// Largest |found − expected|; NaN for lists of different length, so that the line fails.
fn max_abs_difference(found: &[f64], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    // A NaN must stay visible, which `f64::max` would hide.
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |worst, error| {
            if error > worst || error.is_nan() {
                error
            } else {
                worst
            }
        })
}

/// Number of places in which two lists differ.
fn count_differences<T: PartialEq>(found: &[T], expected: &[T]) -> f64 {
    let shorter = found.len().min(expected.len());
    let places = found.iter().zip(expected).filter(|(a, b)| a != b).count();
    (places + found.len().max(expected.len()) - shorter) as f64
}

/// Largest |found − expected| of two tensors.
fn max_abs_error(found: &Tensor, expected: &Tensor) -> f64 {
    if found.size() != expected.size() {
        return f64::NAN;
    }
    (found.to_kind(Kind::Double) - expected.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

fn comparison(what: impl Into<String>, error: f64, tolerance: f64) -> Comparison {
    Comparison::new(what, error, tolerance)
}

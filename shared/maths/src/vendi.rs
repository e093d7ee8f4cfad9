//! Vendi score: the effective number of different rows, the exponential of the entropy of the
//! kernel's eigenvalues (Friedman & Dieng 2023; spec §10.5).

use crate::{Features, MathsError};
use tch::{Kind, Tensor};

/// Order q of the Rényi entropy of the eigenvalues w.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// q = 1: the score is exp(−Σ w ln w), from the Shannon entropy.
    One,
    /// q = 2: the score is 1 / Σw².
    Two,
    /// q = ∞: the score is 1 / max w.
    Infinity,
}

/// Largest number of rows whose n × n kernel is formed: it then has 3.2 GB in float64.
const MAX_ROWS: i64 = 20_000;

/// Vendi score, 1 to n, under the cosine kernel K = X Xᵀ / n of unit rows, in the features' type.
///
/// With more rows than features the d × d matrix Xᵀ X / n is decomposed instead: it has the same
/// eigenvalues but for zeros, which the entropy ignores.
///
/// # Errors
/// [`MathsError::Torch`] when the eigenvalues do not converge.
pub fn vendi(features: &Features, order: Order) -> Result<f64, MathsError> {
    // Divided by n, the eigenvalues of unit rows' kernel sum to 1, as a distribution's weights do.
    let unit = features.unit_rows();
    let gram = if features.width() <= features.count() {
        unit.tr().matmul(&unit)
    } else {
        unit.matmul(&unit.tr())
    };
    score(features, &(gram / features.count() as f64), order)
}

/// Vendi score of order 1 under the kernel (x·y/d + 1)³ of unit rows, divided by n and not
/// normalised. Its eigenvalues do not sum to 1, so it is not an effective number of rows; it exists
/// for comparison with dgm-eval, which computes this.
///
/// # Errors
/// [`MathsError::OutOfRange`] for more than 20,000 rows, [`MathsError::Torch`] when the eigenvalues
/// do not converge.
pub fn vendi_polynomial(features: &Features) -> Result<f64, MathsError> {
    if features.count() > MAX_ROWS {
        let expected = format!("at most {MAX_ROWS}: the kernel is a matrix of rows by rows");
        return Err(MathsError::OutOfRange {
            what: format!("rows of {}", features.name()),
            found: features.count().to_string(),
            expected,
        });
    }
    let unit = features.unit_rows();
    let kernel = (unit.matmul(&unit.tr()) / features.width() as f64 + 1.0).pow_tensor_scalar(3);
    score(features, &(kernel / features.count() as f64), Order::One)
}

fn score(features: &Features, kernel: &Tensor, order: Order) -> Result<f64, MathsError> {
    let what = || format!("eigenvalues of the similarities of {}", features.name());
    let values = kernel
        .f_linalg_eigvalsh("L")
        .map_err(|source| MathsError::Torch {
            what: what(),
            source,
        })?;
    let values: Vec<f64> = Vec::try_from(values.to_kind(Kind::Double).to_device(tch::Device::Cpu))
        .expect("invariant: a vector on the CPU");
    // Rounding leaves eigenvalues that should be 0 slightly below it.
    let positive = || values.iter().copied().filter(|&value| value > 0.0);
    Ok(match order {
        Order::One => (-positive().map(|value| value * value.ln()).sum::<f64>()).exp(),
        Order::Two => 1.0 / positive().map(|value| value * value).sum::<f64>(),
        Order::Infinity => 1.0 / positive().fold(0.0, f64::max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_count_once_and_orthogonal_rows_count_each() {
        let equal = Features::new(
            "equal",
            &(Tensor::ones([7, 3], (Kind::Double, tch::Device::Cpu)) * 5.0),
        )
        .unwrap();
        let apart =
            Features::new("apart", &Tensor::eye(4, (Kind::Double, tch::Device::Cpu))).unwrap();
        for order in [Order::One, Order::Two, Order::Infinity] {
            assert!((vendi(&equal, order).unwrap() - 1.0).abs() < 1e-12);
            assert!((vendi(&apart, order).unwrap() - 4.0).abs() < 1e-12);
        }
    }
}

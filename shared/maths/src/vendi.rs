//! Vendi score: the effective number of different rows (spec §10.5).

use crate::{Features, MathsError};
use tch::{Kind, Tensor};

/// Order q of the Rényi entropy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// q = 1: exp of the Shannon entropy.
    One,
    /// q = 2: 1 / Σw².
    Two,
    /// q = ∞: 1 / max w.
    Infinity,
}

/// Largest number of rows whose n × n kernel is formed: 3.2 GB in float64.
const MOST_ROWS: i64 = 20_000;

/// Vendi score under the cosine kernel K = X Xᵀ / n of unit rows, in the features' kind. The d × d
/// Gram matrix has the same eigenvalues but for zeros, so that n may be large.
///
/// # Errors
/// [`MathsError::Torch`] when the eigenvalues do not converge.
pub fn vendi(features: &Features, order: Order) -> Result<f64, MathsError> {
    let unit = features.unit_rows();
    let gram = if features.width() <= features.count() {
        unit.tr().matmul(&unit)
    } else {
        unit.matmul(&unit.tr())
    };
    score(features, &(gram / features.count() as f64), order)
}

/// Vendi score of order 1 under the kernel (x·y/d + 1)³ of unit rows, divided by n and not
/// renormalised: its eigenvalues do not sum to 1 and the number counts nothing, but it is what the
/// field's tool gives.
///
/// # Errors
/// [`MathsError::OutOfRange`] for more than 20,000 rows, [`MathsError::Torch`] when the eigenvalues
/// do not converge.
pub fn vendi_polynomial(features: &Features) -> Result<f64, MathsError> {
    if features.count() > MOST_ROWS {
        let expected = format!("at most {MOST_ROWS}: the kernel is a matrix of rows by rows");
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

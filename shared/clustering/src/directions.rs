//! Rows of length 1, whose products are cosines.

use crate::ClusteringError;
use cedm_maths::Features;
use tch::{Kind, Tensor};

/// Rows \[n, d\] divided by their L2 norm, without an epsilon (spec §3).
///
/// # Errors
/// [`ClusteringError::ZeroRow`] when a row is all zero: it has no direction.
pub fn unit_rows(features: &Features) -> Result<Tensor, ClusteringError> {
    let zero = features.rows().abs().amax([1].as_slice(), false).eq(0.0);
    let count = zero.sum(Kind::Int64).int64_value(&[]);
    if count > 0 {
        return Err(ClusteringError::ZeroRow {
            count,
            row: zero.to_kind(Kind::Int).argmax(0, false).int64_value(&[]),
        });
    }
    Ok(directions(features.rows()))
}

/// Norms whose squares are normal numbers of float32, and so of float64.
const SAFE_NORM: f64 = 1e-15;

/// Rows \[n, d\] divided by their L2 norm, whatever their size; rows of zeros stay.
pub(crate) fn directions(rows: &Tensor) -> Tensor {
    let norms = |rows: &Tensor| rows.norm_scalaropt_dim(2.0, [1].as_slice(), true);
    let found = norms(rows);
    if found
        .isfinite()
        .logical_and(&found.gt(SAFE_NORM))
        .all()
        .int64_value(&[])
        != 0
    {
        return rows / found;
    }
    // Squares leave the type's range, or a row is zero: their largest number tells, and brings the
    // others to a norm of 1 or more.
    let largest = rows.abs().amax([1].as_slice(), true);
    let rows = rows / largest.where_scalarother(&largest.gt(0.0), 1.0);
    &rows / norms(&rows).clamp_min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_size_have_a_direction() {
        let rows =
            Tensor::from_slice2(&[[3e30f32, 4e30], [-3e-30, 4e-30], [3e-23, 4e-23], [3.0, 4.0]]);
        let unit = unit_rows(&Features::new("rows", &rows).unwrap()).unwrap();
        let expected = Tensor::from_slice2(&[[0.6f32, 0.8], [-0.6, 0.8], [0.6, 0.8], [0.6, 0.8]]);
        assert!((unit - expected).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn zero_rows_have_no_direction() {
        let features =
            Features::new("rows", &Tensor::from_slice2(&[[1f32, 1.0], [0.0, 0.0]])).unwrap();
        let error = unit_rows(&features).unwrap_err().to_string();
        assert!(
            error.starts_with("1 feature rows are all zero, the first is row 1"),
            "{error}"
        );
    }
}

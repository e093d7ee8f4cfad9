//! Features at the door: checked once, then trusted.

use crate::ClusteringError;
use tch::{Device, Kind, Tensor};

/// A feature matrix \[rows, width\], float32 or float64, finite, contiguous, on some device.
#[derive(Debug)]
pub struct Features {
    tensor: Tensor,
}

impl Features {
    /// Checks shape, type and finiteness. float16 and bfloat16 become float32.
    ///
    /// # Errors
    /// When the tensor is not a matrix of at least one row and column, not of a floating type, or
    /// not finite.
    pub fn new(tensor: &Tensor) -> Result<Self, ClusteringError> {
        let shape = tensor.size();
        let kind = match tensor.kind() {
            Kind::Half | Kind::BFloat16 | Kind::Float => Kind::Float,
            Kind::Double => Kind::Double,
            other => return Err(Self::shape_error(format!("{other:?} {shape:?}"))),
        };
        if shape.len() != 2 || shape[0] < 1 || shape[1] < 1 {
            return Err(Self::shape_error(format!("{kind:?} {shape:?}")));
        }
        let tensor = tensor.to_kind(kind).contiguous();
        // NaN and infinities survive a sum of x − x, which needs no mask as large as the features.
        #[allow(clippy::eq_op)]
        let broken = (&tensor - &tensor)
            .sum_dim_intlist([1].as_slice(), false, kind)
            .isnan();
        let count = broken.sum(Kind::Int64).int64_value(&[]);
        if count > 0 {
            return Err(ClusteringError::NotFinite {
                count,
                row: first_true(&broken),
            });
        }
        Ok(Self { tensor })
    }
    /// Rows of features that were checked before.
    pub(crate) fn trusted(tensor: Tensor) -> Self {
        Self { tensor }
    }
    fn shape_error(found: String) -> ClusteringError {
        ClusteringError::Shape {
            what: "features".to_owned(),
            found,
            expected: "a matrix [rows, width] of float16, float32 or float64".to_owned(),
        }
    }
    /// The matrix.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }
    /// N.
    pub fn rows(&self) -> i64 {
        self.tensor.size()[0]
    }
    /// D.
    pub fn width(&self) -> i64 {
        self.tensor.size()[1]
    }
    /// float32 or float64.
    pub fn kind(&self) -> Kind {
        self.tensor.kind()
    }
    /// Where they lie.
    pub fn device(&self) -> Device {
        self.tensor.device()
    }
    /// A copy elsewhere.
    pub fn to_device(&self, device: Device) -> Self {
        Self {
            tensor: self.tensor.to_device(device),
        }
    }
    /// Rows divided by their L2 norm, without an epsilon (spec §3).
    ///
    /// # Errors
    /// When a row is all zero.
    pub fn unit_rows(&self) -> Result<Tensor, ClusteringError> {
        let zero = self.tensor.abs().amax([1].as_slice(), false).eq(0.0);
        let count = zero.sum(Kind::Int64).int64_value(&[]);
        if count > 0 {
            return Err(ClusteringError::ZeroRow {
                count,
                row: first_true(&zero),
            });
        }
        Ok(directions(&self.tensor))
    }
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

fn first_true(mask: &Tensor) -> i64 {
    mask.to_kind(Kind::Int).argmax(0, false).int64_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tensor: &Tensor, expect: &str) {
        let error = Features::new(tensor).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn what_is_no_feature_matrix_is_refused() {
        check(&Tensor::zeros([3], (Kind::Float, Device::Cpu)), "Float [3]");
        check(
            &Tensor::zeros([3, 2], (Kind::Int64, Device::Cpu)),
            "Int64 [3, 2]",
        );
        check(&Tensor::zeros([0, 2], (Kind::Float, Device::Cpu)), "[0, 2]");
        check(
            &Tensor::from_slice2(&[[0f32, 1.0], [f32::NAN, 1.0], [1.0, f32::INFINITY]]),
            "2 rows with NaN or infinite values, the first is row 1",
        );
    }

    #[test]
    fn half_precision_becomes_single() {
        let features = Features::new(&Tensor::ones([2, 2], (Kind::Half, Device::Cpu))).unwrap();
        assert_eq!(features.kind(), Kind::Float);
    }

    #[test]
    fn rows_of_any_size_have_a_direction() {
        let rows =
            Tensor::from_slice2(&[[3e30f32, 4e30], [-3e-30, 4e-30], [3e-23, 4e-23], [3.0, 4.0]]);
        let unit = Features::new(&rows).unwrap().unit_rows().unwrap();
        let expected = Tensor::from_slice2(&[[0.6f32, 0.8], [-0.6, 0.8], [0.6, 0.8], [0.6, 0.8]]);
        assert!((unit - expected).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn zero_rows_have_no_direction() {
        let features = Features::new(&Tensor::from_slice2(&[[1f32, 1.0], [0.0, 0.0]])).unwrap();
        let error = features.unit_rows().unwrap_err().to_string();
        assert!(
            error.starts_with("1 feature rows are all zero, the first is row 1"),
            "{error}"
        );
    }
}

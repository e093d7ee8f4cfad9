//! Features of a set of images: checked once, here, and trusted by everything that takes them.

use crate::MathsError;
use tch::{Device, IndexOp, Kind, Tensor};

/// Features of a set of images: \[n, d\] with n ≥ 1, d ≥ 1, float32 or float64, finite, contiguous,
/// on some device.
///
/// Everything computes in the kind of the features it is given; pass [`Features::double`] for the
/// literature's numbers.
#[derive(Debug)]
pub struct Features {
    name: String,
    rows: Tensor,
}

impl Features {
    /// Takes `rows` \[n, d\]; float16 and bfloat16 are widened to float32. `name` is what errors
    /// call the set.
    ///
    /// # Errors
    /// [`MathsError::Shape`] for what is not such a matrix, [`MathsError::NotFinite`] for NaN and
    /// infinities.
    pub fn new(name: impl Into<String>, rows: &Tensor) -> Result<Self, MathsError> {
        let name = name.into();
        let kind = match (rows.kind(), &rows.size()[..]) {
            (Kind::Half | Kind::BFloat16 | Kind::Float, &[n, d]) if n > 0 && d > 0 => Kind::Float,
            (Kind::Double, &[n, d]) if n > 0 && d > 0 => Kind::Double,
            (kind, size) => {
                return Err(MathsError::Features {
                    what: name,
                    found: format!("{kind:?} {size:?}"),
                });
            }
        };
        let rows = rows.detach().to_kind(kind).contiguous();
        require_finite(&name, &rows)?;
        Ok(Self { name, rows })
    }

    /// The same in float64.
    pub fn double(&self) -> Self {
        Self {
            name: self.name.clone(),
            rows: self.rows.to_kind(Kind::Double),
        }
    }

    /// The same in float32.
    pub fn single(&self) -> Self {
        Self {
            name: self.name.clone(),
            rows: self.rows.to_kind(Kind::Float),
        }
    }

    /// The same on another device.
    pub fn to_device(&self, device: Device) -> Self {
        Self {
            name: self.name.clone(),
            rows: self.rows.to_device(device),
        }
    }

    /// Rows `first..first + count`, which share memory with these.
    ///
    /// # Errors
    /// [`MathsError::OutOfRange`] when they are not all there.
    pub fn narrow(&self, first: i64, count: i64) -> Result<Self, MathsError> {
        self.require_rows(&[first, first + count.max(1) - 1])?;
        Ok(Self {
            name: self.name.clone(),
            rows: self.rows.narrow(0, first, count.max(1)),
        })
    }

    /// Whether there are rows with these indices.
    ///
    /// # Errors
    /// [`MathsError::OutOfRange`] when one of them is missing.
    pub fn require_rows(&self, indices: &[i64]) -> Result<(), MathsError> {
        match indices
            .iter()
            .find(|&&index| index < 0 || index >= self.count())
        {
            None => Ok(()),
            Some(bad) => Err(MathsError::OutOfRange {
                what: format!("row index of {}", self.name),
                found: bad.to_string(),
                expected: format!("0 to {}", self.count() - 1),
            }),
        }
    }

    /// The rows with these indices, in this order, repetitions included.
    ///
    /// # Errors
    /// [`MathsError::OutOfRange`] when a row does not exist or no rows are given.
    pub fn select(&self, indices: &[i64]) -> Result<Self, MathsError> {
        self.require_rows(indices)?;
        if indices.is_empty() {
            return Err(MathsError::TooFew {
                what: self.name.clone(),
                found: 0,
                needed: 1,
                purpose: "a selection of rows",
            });
        }
        let indices = Tensor::from_slice(indices).to_device(self.rows.device());
        Ok(Self {
            name: self.name.clone(),
            rows: self.rows.index_select(0, &indices),
        })
    }

    /// What errors call the set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// n, the number of rows.
    pub fn count(&self) -> i64 {
        self.rows.size()[0]
    }

    /// d, the features of each row.
    pub fn width(&self) -> i64 {
        self.rows.size()[1]
    }

    /// Type of the values: float32 or float64.
    pub fn kind(&self) -> Kind {
        self.rows.kind()
    }

    /// Device on which the features lie.
    pub fn device(&self) -> Device {
        self.rows.device()
    }

    /// The matrix \[n, d\].
    pub fn rows(&self) -> &Tensor {
        &self.rows
    }

    /// Rows divided by their Euclidean length; rows of zeros stay zeros.
    pub fn unit_rows(&self) -> Tensor {
        let lengths = self
            .rows
            .square()
            .sum_dim_intlist([1i64].as_slice(), true, self.kind())
            .sqrt();
        let lengths = lengths.where_self(&lengths.gt(0.0), &lengths.ones_like());
        &self.rows / lengths
    }

    pub(crate) fn require(&self, needed: i64, purpose: &'static str) -> Result<(), MathsError> {
        if self.count() < needed {
            return Err(MathsError::TooFew {
                what: self.name.clone(),
                found: self.count(),
                needed,
                purpose,
            });
        }
        Ok(())
    }

    pub(crate) fn require_width_of(&self, other: &Self) -> Result<(), MathsError> {
        require_width(&self.name, self.width(), &other.name, other.width())
    }
}

pub(crate) fn require_width(
    what: &str,
    found: i64,
    other: &str,
    expected: i64,
) -> Result<(), MathsError> {
    if found != expected {
        return Err(MathsError::Width {
            what: what.to_owned(),
            found,
            other: other.to_owned(),
            expected,
        });
    }
    Ok(())
}

pub(crate) fn require_finite(what: &str, rows: &Tensor) -> Result<(), MathsError> {
    // NaN survives minimum and maximum, and infinities are one of them: no mask as large as the
    // features is made unless there is something to find.
    let (least, most) = rows.aminmax(None, false);
    if (most - least).isfinite().int64_value(&[]) == 1 {
        return Ok(());
    }
    let bad = rows.isfinite().logical_not();
    if bad.any().int64_value(&[]) == 0 {
        return Ok(()); // finite numbers so far apart that their difference is not
    }
    let row = bad.nonzero().i((0, 0)).int64_value(&[]);
    Err(MathsError::NotFinite {
        what: what.to_owned(),
        found: bad.sum(Kind::Int64).int64_value(&[]),
        row,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_found_with_its_row() {
        let mut rows = vec![0.0f32; 12];
        rows[7] = f32::NAN;
        rows[8] = f32::INFINITY;
        let error =
            Features::new("generated", &Tensor::from_slice(&rows).view([4, 3])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "generated holds 2 values that are NaN or infinite, the first in row 2: were they \
             extracted in too low a precision?"
        );
        let apart = Tensor::from_slice(&[f32::MAX, f32::MIN]).view([2, 1]);
        assert!(Features::new("generated", &apart).is_ok());
    }

    #[test]
    fn integers_vectors_and_empty_sets_are_refused() {
        for tensor in [
            Tensor::zeros([3], (Kind::Float, tch::Device::Cpu)),
            Tensor::zeros([3, 2], (Kind::Int64, tch::Device::Cpu)),
            Tensor::zeros([0, 2], (Kind::Float, tch::Device::Cpu)),
        ] {
            assert!(matches!(
                Features::new("set", &tensor),
                Err(MathsError::Features { .. })
            ));
        }
    }

    #[test]
    fn half_is_widened_exactly() {
        let half = Tensor::from_slice(&[0.1f32, 2.5])
            .view([1, 2])
            .to_kind(Kind::Half);
        let features = Features::new("set", &half).unwrap();
        assert_eq!(features.kind(), Kind::Float);
        assert_eq!(features.rows(), &half.to_kind(Kind::Float));
    }
}

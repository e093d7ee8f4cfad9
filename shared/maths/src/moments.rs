//! Mergeable moments of features, n, Σx and Σxxᵀ in float64, from which mean and covariance of a
//! set follow however it was cut into shards (spec §10.1).

use crate::{
    Features, MathsError,
    features::{require_finite, require_width},
    frechet::Gaussian,
};
use tch::{Kind, Tensor};

/// Number of rows, sum \[d\] and sum of outer products \[d, d\] of a set of features, in float64. A
/// set of one row is allowed, since a shard may have one.
#[derive(Debug)]
pub struct Moments {
    name: String,
    count: i64,
    sum: Tensor,
    outer: Tensor,
}

/// Rows that are converted to float64 at a time, so that the copy stays small.
const TILE_ROWS: i64 = 8192;

impl Moments {
    /// Moments of all rows of `features`, on their device.
    pub fn of(features: &Features) -> Self {
        let width = features.width();
        let options = (Kind::Double, features.rows().device());
        let (mut sum, mut outer) = (
            Tensor::zeros([width], options),
            Tensor::zeros([width, width], options),
        );
        // In float64: the covariance is a difference of sums over all rows, which would lose most
        // digits of float32.
        for tile in features.rows().split(TILE_ROWS, 0) {
            let tile = tile.to_kind(Kind::Double);
            sum += tile.sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
            outer += tile.tr().matmul(&tile);
        }
        Self {
            name: features.name().to_owned(),
            count: features.count(),
            sum,
            outer,
        }
    }

    /// Moments from their parts, as read from a file: `sum` \[d\] and `outer` \[d, d\] of any float
    /// type. `name` is what errors call the set.
    ///
    /// # Errors
    /// [`MathsError::Shape`] for shapes that do not fit, [`MathsError::OutOfRange`] for a count
    /// below 1, [`MathsError::NotFinite`].
    pub fn from_parts(
        name: impl Into<String>,
        count: i64,
        sum: &Tensor,
        outer: &Tensor,
    ) -> Result<Self, MathsError> {
        let name = name.into();
        let width = sum.size().first().copied().unwrap_or(0);
        if sum.dim() != 1 || width == 0 {
            return Err(MathsError::Shape {
                what: format!("sum of {name}"),
                found: sum.size(),
                expected: "[features]".to_owned(),
            });
        }
        if outer.size() != [width, width] {
            let expected = format!("[{width}, {width}]");
            return Err(MathsError::Shape {
                what: format!("outer products of {name}"),
                found: outer.size(),
                expected,
            });
        }
        if count < 1 {
            let expected = "at least 1".to_owned();
            return Err(MathsError::OutOfRange {
                what: format!("count of {name}"),
                found: count.to_string(),
                expected,
            });
        }
        let (sum, outer) = (sum.to_kind(Kind::Double), outer.to_kind(Kind::Double));
        require_finite(&format!("sum of {name}"), &sum.unsqueeze(1))?;
        require_finite(&format!("outer products of {name}"), &outer)?;
        Ok(Self {
            name,
            count,
            sum,
            outer,
        })
    }

    /// Adds the moments of further rows. Order and grouping of shards change the result by rounding
    /// only.
    ///
    /// # Errors
    /// [`MathsError::Width`] for features of another width.
    pub fn merge(&mut self, other: &Self) -> Result<(), MathsError> {
        require_width(&other.name, other.width(), &self.name, self.width())?;
        self.count += other.count;
        self.sum += &other.sum;
        self.outer += &other.outer;
        Ok(())
    }

    /// The name that errors use for the set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same moments under another name.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// Number of rows, n.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// Number of features per row, d.
    pub fn width(&self) -> i64 {
        self.sum.size()[0]
    }

    /// Sum of the rows, Σx: f64 \[d\].
    pub fn sum(&self) -> &Tensor {
        &self.sum
    }

    /// Sum of the outer products, Σxxᵀ: f64 \[d, d\].
    pub fn outer(&self) -> &Tensor {
        &self.outer
    }

    /// Mean of the rows, f64 \[d\].
    pub fn mean(&self) -> Tensor {
        &self.sum / self.count as f64
    }

    /// Mean and unbiased covariance (Σxxᵀ − n μμᵀ) / (n − 1). The difference is harmless in
    /// float64, where features are of the order of their deviation (spec §10.1).
    ///
    /// # Errors
    /// [`MathsError::TooFew`] for a single row.
    pub fn gaussian(&self) -> Result<Gaussian, MathsError> {
        if self.count < 2 {
            return Err(MathsError::TooFew {
                what: self.name.clone(),
                found: self.count,
                needed: 2,
                purpose: "a covariance",
            });
        }
        let mu = self.mean();
        let sigma = (&self.outer - mu.outer(&mu) * self.count as f64) / (self.count - 1) as f64;
        Gaussian::new(self.name.clone(), &mu, &sigma)
    }
}

//! [`RowSource`]: rows that mini-batches are drawn from, in memory or in files that do not fit
//! there.

use super::rows::{Nearest, assign, squared_norms};
use crate::ClusteringError;
use cedm_maths::Features;
use tch::{Device, Kind, Tensor};

/// Rows that are read at a time in a pass over all of them.
const PASS_ROWS: i64 = 1 << 14;

/// A feature matrix that is read in pieces.
pub trait RowSource {
    /// Number of rows, N.
    fn count(&self) -> i64;
    /// Number of features per row, D.
    fn width(&self) -> i64;
    /// Rows `first..first + count` \[count, D\], checked: float32 or float64, finite, on the device
    /// that computes.
    ///
    /// # Errors
    /// [`ClusteringError::TensorFile`] if they cannot be read, [`ClusteringError::Maths`] if they
    /// are not valid features.
    fn piece(&self, first: i64, count: i64) -> Result<Features, ClusteringError>;
    /// The rows with these indices \[places, D\], in the order of `places`, repetitions included.
    ///
    /// # Errors
    /// As [`RowSource::piece`].
    fn gather(&self, places: &[i64]) -> Result<Features, ClusteringError>;
}

impl RowSource for Features {
    fn count(&self) -> i64 {
        Features::count(self)
    }
    fn width(&self) -> i64 {
        Features::width(self)
    }
    fn piece(&self, first: i64, count: i64) -> Result<Features, ClusteringError> {
        Ok(self.narrow(first, count)?)
    }
    fn gather(&self, places: &[i64]) -> Result<Features, ClusteringError> {
        Ok(self.select(places)?)
    }
}

/// The nearest centroid of every row of a source.
pub(super) struct SourceAssignment {
    /// Index of the nearest centroid, i64 \[N\] on the CPU.
    pub(super) ids: Tensor,
    /// Squared distance to it, f32 \[N\] on the CPU.
    pub(super) distances: Tensor,
    /// Sum of those squared distances, from differences in float64.
    pub(super) inertia: f64,
}

/// A source with the mean of its rows, on which rows are centred as they are read.
pub(super) struct Centred<'a> {
    source: &'a dyn RowSource,
    mean: Tensor,
}

impl<'a> Centred<'a> {
    /// Computes the mean in one pass over the rows.
    pub(super) fn new(source: &'a dyn RowSource) -> Result<Self, ClusteringError> {
        let mut sum: Option<Tensor> = None;
        let mut kind = Kind::Float;
        for_each_piece(source, |piece| {
            let part = piece
                .rows()
                .sum_dim_intlist([0].as_slice(), true, Kind::Double);
            kind = piece.kind();
            sum = Some(match sum.take() {
                Some(sum) => sum + part,
                None => part,
            });
        })?;
        let sum =
            sum.unwrap_or_else(|| Tensor::zeros([1, source.width()], (Kind::Double, Device::Cpu)));
        Ok(Self {
            source,
            mean: (sum / source.count() as f64).to_kind(kind),
        })
    }
    /// Number of rows, N.
    pub(super) fn count(&self) -> i64 {
        self.source.count()
    }
    /// The rows with these indices, centred, and their squared norms.
    pub(super) fn gather(&self, places: &[i64]) -> Result<(Tensor, Tensor), ClusteringError> {
        let rows = self.source.gather(places)?.rows() - &self.mean;
        let squares = squared_norms(&rows);
        Ok((rows, squares))
    }
    /// Centroids of the original rows, from those of the centred rows.
    pub(super) fn uncentred(&self, centroids: &Tensor) -> Tensor {
        centroids + &self.mean
    }
    /// The nearest of the (centred) centroids for every row, in one pass.
    pub(super) fn assign(&self, centroids: &Tensor) -> Result<SourceAssignment, ClusteringError> {
        let (mut ids, mut distances, mut inertia) = (Vec::new(), Vec::new(), 0.0);
        for_each_piece(self.source, |piece| {
            let rows = piece.rows() - &self.mean;
            let Nearest { ids: nearest, .. } = assign(&rows, &squared_norms(&rows), centroids);
            let difference = (rows - centroids.index_select(0, &nearest)).to_kind(Kind::Double);
            let squares = difference
                .square()
                .sum_dim_intlist([1].as_slice(), false, Kind::Double);
            inertia += squares.sum(Kind::Double).double_value(&[]);
            ids.push(nearest.to_device(Device::Cpu));
            distances.push(squares.to_kind(Kind::Float).to_device(Device::Cpu));
        })?;
        Ok(SourceAssignment {
            ids: Tensor::cat(&ids, 0),
            distances: Tensor::cat(&distances, 0),
            inertia,
        })
    }
}

/// Calls `visit` with all rows of a source, piece by piece.
fn for_each_piece(
    source: &dyn RowSource,
    mut visit: impl FnMut(&Features),
) -> Result<(), ClusteringError> {
    for first in (0..source.count()).step_by(PASS_ROWS as usize) {
        visit(&source.piece(first, PASS_ROWS.min(source.count() - first))?);
    }
    Ok(())
}

//! Rows that mini-batches are drawn from: in memory, or wherever sets lie that do not fit there.

use super::rows::{Nearest, assign, squared_norms};
use crate::{ClusteringError, Features};
use tch::{Device, Kind, Tensor};

/// Rows read at a time in a pass over all of them.
const PASS_ROWS: i64 = 1 << 14;

/// A feature matrix that is read in pieces.
pub trait RowSource {
    /// N.
    fn count(&self) -> i64;
    /// D.
    fn width(&self) -> i64;
    /// Rows `first..first + count` \[count, D\], checked: float32 or float64, finite, on the device
    /// that computes.
    ///
    /// # Errors
    /// When they cannot be read or are no features.
    fn piece(&self, first: i64, count: i64) -> Result<Features, ClusteringError>;
    /// The rows at these places \[places, D\], in their order, repetitions included.
    ///
    /// # Errors
    /// As [`RowSource::piece`].
    fn gather(&self, places: &[i64]) -> Result<Features, ClusteringError>;
}

impl RowSource for Features {
    fn count(&self) -> i64 {
        self.rows()
    }
    fn width(&self) -> i64 {
        Features::width(self)
    }
    fn piece(&self, first: i64, count: i64) -> Result<Features, ClusteringError> {
        Ok(Features::trusted(self.tensor().narrow(0, first, count)))
    }
    fn gather(&self, places: &[i64]) -> Result<Features, ClusteringError> {
        let places = Tensor::from_slice(places).to_device(self.device());
        Ok(Features::trusted(self.tensor().index_select(0, &places)))
    }
}

/// The nearest centroid of every row.
pub(super) struct Assigned {
    /// i64 \[N\] on the CPU.
    pub(super) ids: Tensor,
    /// Squared distance to it, f32 \[N\] on the CPU.
    pub(super) distances: Tensor,
    /// Sum of those distances, by differences in float64.
    pub(super) inertia: f64,
}

/// A source with the mean of its rows, which are centred on it when they are read.
pub(super) struct Centred<'a> {
    source: &'a dyn RowSource,
    mean: Tensor,
}

impl<'a> Centred<'a> {
    /// One pass over the rows.
    pub(super) fn new(source: &'a dyn RowSource) -> Result<Self, ClusteringError> {
        let mut sum: Option<Tensor> = None;
        let mut kind = Kind::Float;
        pass(source, |piece| {
            let part = piece
                .tensor()
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
    pub(super) fn count(&self) -> i64 {
        self.source.count()
    }
    /// Centred rows and their squared norms.
    pub(super) fn draw(&self, places: &[i64]) -> Result<(Tensor, Tensor), ClusteringError> {
        let rows = self.source.gather(places)?.tensor() - &self.mean;
        let squares = squared_norms(&rows);
        Ok((rows, squares))
    }
    /// Centroids of the rows as they were.
    pub(super) fn uncentred(&self, centroids: &Tensor) -> Tensor {
        centroids + &self.mean
    }
    /// The nearest centroid of every row.
    pub(super) fn assign(&self, centroids: &Tensor) -> Result<Assigned, ClusteringError> {
        let (mut ids, mut distances, mut inertia) = (Vec::new(), Vec::new(), 0.0);
        pass(self.source, |piece| {
            let rows = piece.tensor() - &self.mean;
            let Nearest { ids: nearest, .. } = assign(&rows, &squared_norms(&rows), centroids);
            let difference = (rows - centroids.index_select(0, &nearest)).to_kind(Kind::Double);
            let squares = difference
                .square()
                .sum_dim_intlist([1].as_slice(), false, Kind::Double);
            inertia += squares.sum(Kind::Double).double_value(&[]);
            ids.push(nearest.to_device(Device::Cpu));
            distances.push(squares.to_kind(Kind::Float).to_device(Device::Cpu));
        })?;
        Ok(Assigned {
            ids: Tensor::cat(&ids, 0),
            distances: Tensor::cat(&distances, 0),
            inertia,
        })
    }
}

fn pass(source: &dyn RowSource, mut visit: impl FnMut(&Features)) -> Result<(), ClusteringError> {
    for first in (0..source.count()).step_by(PASS_ROWS as usize) {
        visit(&source.piece(first, PASS_ROWS.min(source.count() - first))?);
    }
    Ok(())
}

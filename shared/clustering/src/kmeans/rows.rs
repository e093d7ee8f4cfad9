//! Rows prepared for squared distances, and the two passes over them: the nearest centroid of each
//! row, and the sum of the rows of each cluster.

use cedm_maths::Features;
use tch::{Kind, Tensor};

/// Bytes of distances that are computed at a time, few enough to stay in the last-level cache.
const PIECE_BYTES: i64 = 4 << 20;

/// A feature matrix minus its mean, with the squared norms of its rows.
#[derive(Debug)]
pub struct Rows {
    centred: Tensor,
    squares: Tensor,
    mean: Tensor,
}

/// The nearest centroid of every row.
#[derive(Debug)]
pub struct Nearest {
    /// Index of the nearest centroid, i64 \[N\].
    pub ids: Tensor,
    /// Squared distance to it in the rows' type, \[N\].
    pub distances: Tensor,
    /// Sum of those squared distances.
    pub inertia: f64,
}

impl Rows {
    /// Centres the features on their mean, which is computed in float64.
    pub fn new(features: &Features) -> Self {
        // Rounded to the features' type: what is subtracted from rows is what is added to centroids
        // again.
        let mean = features
            .rows()
            .mean_dim([0].as_slice(), true, Kind::Double)
            .to_kind(features.kind());
        let centred = features.rows() - &mean;
        let squares = squared_norms(&centred);
        Self {
            centred,
            squares,
            mean,
        }
    }
    /// Centred rows \[N, D\].
    pub fn centred(&self) -> &Tensor {
        &self.centred
    }
    /// Their squared norms \[N\].
    pub fn squares(&self) -> &Tensor {
        &self.squares
    }
    /// Number of rows, N.
    pub fn count(&self) -> i64 {
        self.centred.size()[0]
    }
    /// Centroids \[C, D\] of the original rows, from those of the centred rows.
    pub fn uncentred(&self, centroids: &Tensor) -> Tensor {
        centroids + &self.mean
    }
    /// Centroids \[C, D\] of the centred rows, from those of the original rows.
    pub fn centred_centroids(&self, centroids: &Tensor) -> Tensor {
        centroids - &self.mean
    }
    /// Mean over features of the variance (ddof 0), to which the stopping tolerance is relative.
    pub fn mean_variance(&self) -> f64 {
        self.squares.sum(Kind::Double).double_value(&[]) / self.centred.numel() as f64
    }

    /// The nearest of the (centred) centroids for each row, the lowest index among equal ones.
    pub fn assign(&self, centroids: &Tensor) -> Nearest {
        assign(&self.centred, &self.squares, centroids)
    }

    /// Sums of the rows of each cluster, f64 \[C, D\], and their number, f64 \[C\].
    pub fn sums(&self, ids: &Tensor, clusters: i64) -> (Tensor, Tensor) {
        sums(&self.centred, ids, clusters)
    }

    /// Sum of squared distances, computed from differences and in float64: the value that is
    /// reported and by which starts are compared. The sum of `Nearest::distances` is only accurate
    /// to float32.
    pub fn inertia(&self, centroids: &Tensor, ids: &Tensor) -> f64 {
        let piece = (PIECE_BYTES / (8 * self.centred.size()[1])).max(1);
        let mut sum = 0.0;
        for (rows, ids) in self.centred.split(piece, 0).iter().zip(ids.split(piece, 0)) {
            let difference = rows - centroids.index_select(0, &ids);
            sum += difference
                .to_kind(Kind::Double)
                .square_()
                .sum(Kind::Double)
                .double_value(&[]);
        }
        sum
    }
}

/// Squared L2 norm of each row.
pub(super) fn squared_norms(rows: &Tensor) -> Tensor {
    rows.square()
        .sum_dim_intlist([1].as_slice(), false, rows.kind())
}

/// The nearest centroid of each row, the lowest index among equal ones. `squares` are the squared
/// norms of `rows` \[n, D\].
pub(super) fn assign(rows: &Tensor, squares: &Tensor, centroids: &Tensor) -> Nearest {
    let half_squares = (squared_norms(centroids) * 0.5).unsqueeze(0);
    let transposed = centroids.tr();
    let piece = (PIECE_BYTES / (8 * centroids.size()[0])).clamp(256, 1 << 16);
    let (mut ids, mut distances) = (Vec::new(), Vec::new());
    for (rows, squares) in rows.split(piece, 0).iter().zip(squares.split(piece, 0)) {
        // ‖c‖²/2 − x·c is smallest where ‖x − c‖² is: ‖x‖² is the same for every centroid.
        let (least, nearest) = (&half_squares - rows.mm(&transposed)).min_dim(1, false);
        // Rounding may leave the distance of a row to a centroid on it slightly negative.
        distances.push((least * 2.0 + squares).clamp_min(0.0));
        ids.push(nearest);
    }
    let distances = Tensor::cat(&distances, 0);
    let inertia = distances.sum(Kind::Double).double_value(&[]);
    Nearest {
        ids: Tensor::cat(&ids, 0),
        distances,
        inertia,
    }
}

/// Sums of the rows of each cluster, f64 \[C, D\], and their number, f64 \[C\].
pub(super) fn sums(rows: &Tensor, ids: &Tensor, clusters: i64) -> (Tensor, Tensor) {
    let options = (Kind::Double, rows.device());
    let mut total = Tensor::zeros([clusters, rows.size()[1]], options);
    // A float32 sum over a whole cluster of a large set would lose digits, a float64 copy of all
    // rows would double the memory: float32 within a piece, float64 across pieces.
    for (rows, ids) in rows.split(4096, 0).iter().zip(ids.split(4096, 0)) {
        let mut part = Tensor::zeros([clusters, rows.size()[1]], (rows.kind(), rows.device()));
        total += part.index_add_(0, &ids, rows).to_kind(Kind::Double);
    }
    (
        total,
        ids.bincount(None::<Tensor>, clusters).to_kind(Kind::Double),
    )
}

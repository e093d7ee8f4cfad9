//! The cells of the feature space for the data-copying score: 3 k-means clusters of the training
//! features, as in dgm-eval.

use crate::EvaluatorError;
use cedm_clustering::{ClusteringError, kmeans};
use cedm_contract::kinds::cluster::KmeansParams;
use cedm_maths::{Features, MathsError};

/// The cell of every row of several sets.
pub(crate) struct Cells {
    /// Number of cells of the training set.
    pub(crate) count: i64,
    /// Cell of each row: first of the training set, then of the other sets in order.
    pub(crate) ids: Vec<Vec<i64>>,
}

/// Number of cells into which the training set is clustered.
const CELLS: u32 = 3;

/// Clusters `train` by k-means and assigns the rows of `others` to the nearest centroids.
///
/// # Errors
/// If `train` has too few rows for the clusters.
pub(crate) fn cells_of(
    train: &Features,
    others: &[&Features],
    seed: u64,
) -> Result<Cells, EvaluatorError> {
    let not_clusterable = |error: ClusteringError| {
        let what = format!("cells of {}", train.name());
        MathsError::OutOfRange {
            what,
            found: error.to_string(),
            expected: format!("features that fall into {CELLS} clusters"),
        }
    };
    let fitted = kmeans::fit(
        train,
        CELLS,
        // Ten starts of k-means++ by default: the score is compared across sweeps.
        &KmeansParams::default(),
        seed,
        &mut |_, _, _| true,
    )
    .map_err(not_clusterable)?
    .expect("invariant: the progress callback never stops the clustering");
    let read = "invariant: an int64 vector on the CPU";
    let mut ids: Vec<Vec<i64>> = vec![Vec::try_from(&fitted.ids).expect(read)];
    for other in others {
        let nearest = kmeans::nearest_centroid(other, &fitted.centroids);
        ids.push(Vec::try_from(&nearest).expect(read));
    }
    Ok(Cells {
        count: i64::from(CELLS),
        ids,
    })
}

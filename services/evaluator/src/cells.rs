//! The cells of the data-copying score: 3 k-means clusters of the training features.

use crate::EvaluatorError;
use cedm_clustering::{ClusteringError, kmeans};
use cedm_contract::kinds::cluster::KmeansParams;
use cedm_maths::{Features, MathsError};

/// Cells of several sets.
pub(crate) struct Cells {
    /// Number of cells.
    pub(crate) count: i64,
    /// Cell of each row: of the training set first, then of the others in order.
    pub(crate) ids: Vec<Vec<i64>>,
}

const CELLS: u32 = 3;

/// Clusters `train` and assigns the rows of `others` to the nearest centres.
pub(crate) fn cells_of(
    train: &Features,
    others: &[&Features],
    seed: u64,
) -> Result<Cells, EvaluatorError> {
    let refused = |error: ClusteringError| {
        let what = format!("cells of {}", train.name());
        MathsError::OutOfRange {
            what,
            found: error.to_string(),
            expected: format!("features that fall into {CELLS} clusters"),
        }
    };
    let of = |set: &Features| kmeans_features(set).map_err(refused);
    let fitted = kmeans::fit(
        &of(train)?,
        CELLS,
        &KmeansParams::default(),
        seed,
        &mut |_, _, _| true,
    )
    .map_err(refused)?
    .expect("invariant: nobody stops this search");
    let read = "invariant: an int64 vector on the CPU";
    let mut ids: Vec<Vec<i64>> = vec![Vec::try_from(&fitted.ids).expect(read)];
    for other in others {
        let nearest = kmeans::nearest_centroid(&of(other)?, &fitted.centroids);
        ids.push(Vec::try_from(&nearest).expect(read));
    }
    Ok(Cells {
        count: i64::from(CELLS),
        ids,
    })
}

fn kmeans_features(set: &Features) -> Result<cedm_clustering::Features, ClusteringError> {
    cedm_clustering::Features::new(set.rows())
}

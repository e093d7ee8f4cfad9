//! Cosine similarity to the nearest training row, and the area under the ROC curve that tells test
//! rows from generated ones by it (spec §10.4).

use crate::{Features, MathsError};
use tch::{Device, Kind};

/// Elements of one tile of similarities: 64 MiB in float64.
const TILE_ELEMENTS: i64 = 8 << 20;

/// The training row that is most similar to a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearestCosine {
    /// Index of the training row.
    pub index: i64,
    /// Its cosine similarity to the query, −1 to 1.
    pub similarity: f64,
}

/// The row of `train` with the largest cosine similarity to each of the n rows of `queries`,
/// computed in the type of `queries`, in tiles.
///
/// # Errors
/// [`MathsError::Width`] for sets of different width.
pub fn nearest_cosine(
    queries: &Features,
    train: &Features,
) -> Result<Vec<NearestCosine>, MathsError> {
    queries.require_width_of(train)?;
    // The cosine of unit rows is their scalar product.
    let (unit, base) = (
        queries.unit_rows(),
        train.unit_rows().to_kind(queries.kind()).tr(),
    );
    let rows = (TILE_ELEMENTS / train.count()).max(1);
    let mut found = Vec::with_capacity(queries.count() as usize);
    for tile in unit.split(rows, 0) {
        let (largest, index) = tile.matmul(&base).max_dim(1, false);
        let read = "invariant: a vector on the CPU";
        let largest: Vec<f64> =
            Vec::try_from(largest.to_kind(Kind::Double).to_device(Device::Cpu)).expect(read);
        let index: Vec<i64> = Vec::try_from(index.to_device(Device::Cpu)).expect(read);
        found.extend(
            index
                .into_iter()
                .zip(largest)
                .map(|(index, similarity)| NearestCosine { index, similarity }),
        );
    }
    Ok(found)
}

/// Area under the ROC curve, P(positive > negative) + P(tie) / 2, from the Mann-Whitney U
/// statistic. `None` if either list is empty.
pub fn area_under_roc(positive: &[f64], negative: &[f64]) -> Option<f64> {
    if positive.is_empty() || negative.is_empty() {
        return None;
    }
    let pairs = positive.len() as f64 * negative.len() as f64;
    Some(crate::mann_whitney_u(positive, negative) / pairs)
}

/// AUROC of telling the test split (positive) from the generated set (negative) by
/// [`nearest_cosine`]: 0.5 if generated images are as close to the training images as test images
/// are, larger if they are farther away.
///
/// Similarities are rounded to twelve decimals first, so that copies of one training image tie
/// whatever the summation order was.
///
/// # Errors
/// [`MathsError::Width`] for sets of different width.
pub fn nearest_cosine_auroc(
    train: &Features,
    test: &Features,
    generated: &Features,
) -> Result<f64, MathsError> {
    let rounded = |queries: &Features| -> Result<Vec<f64>, MathsError> {
        Ok(nearest_cosine(queries, train)?
            .into_iter()
            .map(|near| (near.similarity * 1e12).round_ties_even() / 1e12)
            .collect())
    };
    Ok(area_under_roc(&rounded(test)?, &rounded(generated)?)
        .expect("invariant: features are never empty"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    #[test]
    fn ties_count_one_half() {
        assert_eq!(area_under_roc(&[1.0, 2.0], &[1.0, 0.0]), Some(0.875));
        assert_eq!(area_under_roc(&[1.0; 3], &[1.0; 5]), Some(0.5));
        assert_eq!(area_under_roc(&[], &[1.0]), None);
    }

    #[test]
    fn a_set_against_itself_scores_one_half() {
        let rows = Tensor::arange(60, (Kind::Double, Device::Cpu))
            .sin()
            .view([20, 3]);
        let set = Features::new("set", &rows).unwrap();
        assert_eq!(nearest_cosine_auroc(&set, &set, &set).unwrap(), 0.5);
    }
}

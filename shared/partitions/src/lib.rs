//! Measures of clusterings: agreement of two partitions of the same images, and how evenly one
//! partition uses its clusters (spec §10.6, §6.1).
//!
//! Ids in, numbers out, no tensors, so that the report can use it without libtorch.

#![forbid(unsafe_code)]

mod accuracy;
mod agreement;
mod matching;
mod usage;

pub use accuracy::{accuracy, one_to_one_accuracy};
pub use agreement::{Agreement, agreement};
pub use matching::best_matching;
pub use usage::{Usage, compact};

use cedm_fault::{Fault, HasFault};
use std::collections::BTreeMap;

/// Ids that do not form a partition, or two partitions of different images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {found}, expected {expected}")]
pub struct PartitionError {
    /// The value that is wrong.
    pub what: String,
    /// What was found instead.
    pub found: String,
    /// The expected values, in words.
    pub expected: String,
}

impl HasFault for PartitionError {
    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// Contingency table: how often each pair of label and cluster occurs. Rows and columns are the ids
/// that occur, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contingency {
    /// Number of images in both partitions.
    pub total: u64,
    /// Number of images of each label.
    pub labels: Vec<u64>,
    /// Number of images of each cluster.
    pub clusters: Vec<u64>,
    /// Cells that are not zero: (label, cluster) → number of images.
    pub cells: BTreeMap<(usize, usize), u64>,
}

impl Contingency {
    /// Counts the pairs of two lists with one id per image each.
    ///
    /// # Errors
    /// When the two differ in length or are empty.
    pub fn new(labels: &[i64], clusters: &[i64]) -> Result<Self, PartitionError> {
        if labels.len() != clusters.len() || labels.is_empty() {
            return Err(PartitionError {
                what: "number of labels".to_owned(),
                found: labels.len().to_string(),
                expected: format!(
                    "one for each of the {} cluster ids, and at least one",
                    clusters.len()
                ),
            });
        }
        // A map of cells and not a matrix: C may be in the thousands and most cells are empty.
        let (row, rows) = ranks(labels);
        let (column, columns) = ranks(clusters);
        let mut table = Self {
            total: labels.len() as u64,
            labels: vec![0; rows],
            clusters: vec![0; columns],
            cells: BTreeMap::new(),
        };
        for (&label, &cluster) in labels.iter().zip(clusters) {
            let (i, j) = (row[&label], column[&cluster]);
            table.labels[i] += 1;
            table.clusters[j] += 1;
            *table.cells.entry((i, j)).or_default() += 1;
        }
        Ok(table)
    }
}

/// Rank of each id among the distinct ids, and their number.
fn ranks(ids: &[i64]) -> (BTreeMap<i64, usize>, usize) {
    let mut ranks: BTreeMap<i64, usize> = ids.iter().map(|&id| (id, 0)).collect();
    for (rank, place) in ranks.values_mut().enumerate() {
        *place = rank;
    }
    let count = ranks.len();
    (ranks, count)
}

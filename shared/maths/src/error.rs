//! The one error type of this crate.

use std::path::PathBuf;

/// Why a number cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum MathsError {
    /// A tensor whose dimensions do not fit.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// Which tensor.
        what: String,
        /// Its shape.
        found: Vec<i64>,
        /// What was expected, in words.
        expected: String,
    },
    /// Two sets of different feature width.
    #[error(
        "{what} has {found} features per row, {other} has {expected}: were they made by the same \
         extractor?"
    )]
    Width {
        /// Which set.
        what: String,
        /// Its width.
        found: i64,
        /// The other set.
        other: String,
        /// The other's width.
        expected: i64,
    },
    /// Too few rows for what is asked.
    #[error("{what} has {found} rows, {purpose} needs at least {needed}")]
    TooFew {
        /// Which set.
        what: String,
        /// Its rows.
        found: i64,
        /// The least number.
        needed: i64,
        /// For what.
        purpose: &'static str,
    },
    /// NaN or infinite values.
    #[error("{what} holds {found} values that are NaN or infinite, the first in row {row}")]
    NotFinite {
        /// Which set.
        what: String,
        /// How many.
        found: i64,
        /// Row of the first.
        row: i64,
    },
    /// A value outside its range.
    #[error("{what} is {found}, expected {expected}")]
    OutOfRange {
        /// Which value.
        what: String,
        /// As found.
        found: String,
        /// What was expected, in words.
        expected: String,
    },
    /// Ids that are no partition.
    #[error(transparent)]
    Partition(#[from] cedm_partitions::PartitionError),
    /// A statistics file that cannot be read or written.
    #[error("{}: {reason}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A decomposition that libtorch could not finish.
    #[error("{what}: {source}")]
    Torch {
        /// What was being computed.
        what: String,
        /// libtorch's words.
        source: tch::TchError,
    },
}

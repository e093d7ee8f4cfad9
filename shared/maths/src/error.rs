//! [`MathsError`], the one error type of this crate.

use cedm_fault::{Fault, HasFault};
use std::path::PathBuf;

/// Why a score or statistic cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum MathsError {
    /// A tensor has the wrong dimensions.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// Name of the tensor.
        what: String,
        /// The shape that it has.
        found: Vec<i64>,
        /// What was expected, in words.
        expected: String,
    },
    /// A tensor that is not a feature matrix.
    #[error("{what} is {found}, expected float16, bfloat16, float32 or float64 [rows, width]")]
    Features {
        /// Which of the two sets.
        what: String,
        /// Its type and shape.
        found: String,
    },
    /// Two sets have different numbers of features per row.
    #[error(
        "{what} has {found} features per row, {other} has {expected}: were they made by the same \
         extractor?"
    )]
    Width {
        /// Name of the one set.
        what: String,
        /// Its number of features.
        found: i64,
        /// Name of the other set.
        other: String,
        /// The other's number of features.
        expected: i64,
    },
    /// A set has too few rows for a computation.
    #[error("{what} has {found} rows, {purpose} needs at least {needed}")]
    TooFew {
        /// Name of the set.
        what: String,
        /// Its number of rows.
        found: i64,
        /// The smallest number of rows that will do.
        needed: i64,
        /// What the matrix was needed for.
        purpose: &'static str,
    },
    /// A set holds NaN or infinite values.
    #[error(
        "{what} holds {found} values that are NaN or infinite, the first in row {row}: were they \
         extracted in too low a precision?"
    )]
    NotFinite {
        /// Name of the set.
        what: String,
        /// Number of such values.
        found: i64,
        /// Row of the first of them.
        row: i64,
    },
    /// A value is outside its range.
    #[error("{what} is {found}, expected {expected}")]
    OutOfRange {
        /// Name of the value.
        what: String,
        /// The value that was given.
        found: String,
        /// What was expected, in words.
        expected: String,
    },
    /// Cluster ids or labels are not a partition of the rows.
    #[error(transparent)]
    Partition(#[from] cedm_partitions::PartitionError),
    /// The system could not open or write a statistics file.
    #[error("cannot {action} {}", file.display())]
    Io {
        /// What was tried: `open` or `write`.
        action: &'static str,
        /// The file it was tried on.
        file: PathBuf,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// A statistics file has another content than it should.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file that was read.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// libtorch could not compute a matrix decomposition.
    #[error("{what}: {source}")]
    Torch {
        /// The decomposition and its matrix.
        what: String,
        /// What libtorch said of it.
        source: tch::TchError,
    },
}

impl HasFault for MathsError {
    fn fault(&self) -> Fault {
        match self {
            MathsError::Shape { .. }
            | MathsError::Features { .. }
            | MathsError::Width { .. }
            | MathsError::TooFew { .. }
            | MathsError::NotFinite { .. }
            | MathsError::OutOfRange { .. }
            | MathsError::Partition(_)
            | MathsError::File { .. } => Fault::Input,
            MathsError::Io { .. } => Fault::Unavailable,
            MathsError::Torch { .. } => Fault::Bug,
        }
    }
}

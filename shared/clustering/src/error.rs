//! The one error type of this crate.

use std::path::PathBuf;

/// Why features cannot be clustered, or a state cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ClusteringError {
    /// A tensor whose dimensions or type do not fit.
    #[error("{what} is {found}, expected {expected}")]
    Shape {
        /// Which tensor.
        what: String,
        /// Its type and shape.
        found: String,
        /// What was expected, in words.
        expected: String,
    },
    /// NaN or infinite features.
    #[error(
        "features hold {count} rows with NaN or infinite values, the first is row {row}: were \
         they extracted in too low a precision?"
    )]
    NotFinite {
        /// Rows that hold such values.
        count: i64,
        /// The first of them.
        row: i64,
    },
    /// Rows of length zero, which have no direction.
    #[error(
        "{count} feature rows are all zero, the first is row {row}: their cosine to other rows is \
         undefined"
    )]
    ZeroRow {
        /// How many.
        count: i64,
        /// The first.
        row: i64,
    },
    /// A setting outside its range.
    #[error("{setting} is {found}, expected {expected}")]
    Setting {
        /// Which setting, as in the sweep file.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What is allowed, and why.
        expected: String,
    },
    /// A loss that is no number any more.
    #[error("loss of head {head} became {value} in epoch {epoch}: lower base_lr or switch clip on")]
    Diverged {
        /// First such head.
        head: usize,
        /// Its loss.
        value: f64,
        /// Epoch, from 0.
        epoch: u32,
    },
    /// A state or weight file that does not fit.
    #[error("{}: {reason}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Weights whose names or shapes do not fit together.
    #[error("head weights: {reason}")]
    Weights {
        /// What is wrong.
        reason: String,
    },
    /// A formula of the maths crate refused its input.
    #[error(transparent)]
    Maths(#[from] cedm_maths::MathsError),
    /// A libtorch call that failed.
    #[error("libtorch, while {doing}: {source}")]
    Torch {
        /// What was being done.
        doing: &'static str,
        /// libtorch's words.
        source: tch::TchError,
    },
}

impl ClusteringError {
    pub(crate) fn setting(
        setting: &'static str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Setting {
            setting,
            found: found.to_string(),
            expected: expected.into(),
        }
    }
}

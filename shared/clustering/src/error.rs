//! [`ClusteringError`], the one error type of this crate.

use cedm_fault::{Fault, HasFault};
use std::path::PathBuf;

/// Why features cannot be clustered, or a state cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ClusteringError {
    /// A tensor has the wrong dimensions or type.
    #[error("{what} is {found}, expected {expected}")]
    Shape {
        /// Name of the tensor.
        what: String,
        /// Its type and shape.
        found: String,
        /// What was expected, in words.
        expected: String,
    },
    /// Rows are all zero, so they have no direction.
    #[error(
        "{count} feature rows are all zero, the first is row {row}: their cosine to other rows is \
         undefined"
    )]
    ZeroRow {
        /// Number of such rows.
        count: i64,
        /// Index of the first of them.
        row: i64,
    },
    /// A setting is outside its range.
    #[error("{setting} is {found}, expected {expected}")]
    Setting {
        /// Name of the setting, as in the sweep file.
        setting: &'static str,
        /// The value that it had.
        found: String,
        /// The allowed values and their reason, in words.
        expected: String,
    },
    /// The loss of a head is NaN or infinite.
    #[error("loss of head {head} became {value} in epoch {epoch}: lower base_lr or switch clip on")]
    Diverged {
        /// Index of the first such head.
        head: usize,
        /// Its loss, which is not finite.
        value: f64,
        /// Number of the epoch, from 0.
        epoch: u32,
    },
    /// A tensor file cannot be read or written.
    #[error(transparent)]
    TensorFile(#[from] cedm_tensor_files::TensorFileError),
    /// A training's state cannot be read or lacks a tensor.
    #[error(transparent)]
    Checkpoint(cedm_tensor_files::TensorFileError),
    /// A state or weight file is of another training.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file that was read.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Names or shapes of weights do not fit together.
    #[error("head weights: {reason}")]
    Weights {
        /// What is wrong with it.
        reason: String,
    },
    /// Invalid features, or another input that a formula of `cedm-maths` rejected.
    #[error(transparent)]
    Maths(#[from] cedm_maths::MathsError),
    /// A call of libtorch failed.
    #[error("libtorch, while {doing}: {source}")]
    Torch {
        /// What was being computed.
        doing: &'static str,
        /// What libtorch said of it.
        source: tch::TchError,
    },
}

impl HasFault for ClusteringError {
    fn fault(&self) -> Fault {
        match self {
            ClusteringError::Shape { .. }
            | ClusteringError::ZeroRow { .. }
            | ClusteringError::Setting { .. }
            | ClusteringError::Diverged { .. }
            | ClusteringError::Weights { .. } => Fault::Input,
            ClusteringError::Maths(error) => error.fault(),
            ClusteringError::TensorFile(error) => error.fault(),
            ClusteringError::Checkpoint(error) => error.fault_in_checkpoint(),
            // A state that this program wrote itself and that verified when it was fetched.
            ClusteringError::File { .. } | ClusteringError::Torch { .. } => Fault::Bug,
        }
    }
}

impl ClusteringError {
    /// The same error, met while a training's state was read.
    pub(crate) fn in_checkpoint(self) -> Self {
        match self {
            Self::TensorFile(error) => Self::Checkpoint(error),
            other => other,
        }
    }

    /// [`ClusteringError::Setting`] from anything that can be printed.
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

//! What can be wrong with an evaluation.

use cedm_fault::{Fault, HasFault};
use std::path::PathBuf;

/// Why sets cannot be measured or compared.
#[derive(Debug, thiserror::Error)]
pub enum EvaluatorError {
    /// A computation of `cedm-maths` failed.
    #[error(transparent)]
    Maths(#[from] cedm_maths::MathsError),
    /// The extractor or its weights.
    #[error(transparent)]
    Net(#[from] cedm_nets::NetError),
    /// Images could not be read.
    #[error(transparent)]
    Images(#[from] cedm_images::ImageError),
    /// An input of `run` that could not be fetched.
    #[error(transparent)]
    Store(#[from] cedm_runtime::StoreError),
    /// A tensor file that cannot be read or written.
    #[error(transparent)]
    TensorFile(#[from] cedm_tensor_files::TensorFileError),
    /// Features of different extractors.
    #[error(
        "{what} was measured by {found}, {other} by {expected}: scores of different feature spaces cannot be compared"
    )]
    OtherSpace {
        /// Name of the set that does not fit the other.
        what: String,
        /// Feature space of that set.
        found: String,
        /// Name of the set that it is compared with.
        other: String,
        /// The other's feature space.
        expected: String,
    },
    /// Images of different shape.
    #[error(
        "{what} has images of {found}, {other} of {expected}: bring them to one size first, or \
         pass --mixed-resolution if the extractor resizes them"
    )]
    OtherResolution {
        /// Name of the set that does not fit the other.
        what: String,
        /// Channels and side of its images.
        found: String,
        /// Name of the set that it is compared with.
        other: String,
        /// Channels and side of the other.
        expected: String,
    },
    /// A file that is not what it should be.
    #[error("{}: {reason}", file.display())]
    File {
        /// Path of the file.
        file: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// A metric that is not in the table.
    #[error("there is no metric `{found}`; known are {known}")]
    Metric {
        /// The name that was asked for.
        found: String,
        /// Names of all metrics, separated by commas.
        known: String,
    },
    /// A set that lacks what a metric or an option needs.
    #[error("{what} has {found}, requires {needed}")]
    Lacking {
        /// Name of the set.
        what: String,
        /// What the set has, in words.
        found: &'static str,
        /// What the metric or option needs, in words.
        needed: &'static str,
    },
    /// An operation of libtorch failed.
    #[error("{what}: {source}")]
    Torch {
        /// What was being done.
        what: String,
        /// The error that libtorch reported.
        source: tch::TchError,
    },
}

impl HasFault for EvaluatorError {
    fn fault(&self) -> Fault {
        match self {
            EvaluatorError::Maths(error) => error.fault(),
            EvaluatorError::Net(error) => error.fault(),
            EvaluatorError::Images(error) => error.fault(),
            EvaluatorError::Store(error) => error.fault(),
            EvaluatorError::TensorFile(error) => error.fault(),
            EvaluatorError::OtherSpace { .. }
            | EvaluatorError::OtherResolution { .. }
            | EvaluatorError::File { .. }
            | EvaluatorError::Metric { .. }
            | EvaluatorError::Lacking { .. } => Fault::Input,
            EvaluatorError::Torch { .. } => Fault::Bug,
        }
    }
}

impl EvaluatorError {
    pub(crate) fn file(file: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::File {
            file: file.into(),
            reason: reason.into(),
        }
    }
}

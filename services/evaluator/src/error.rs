//! What can be wrong with an evaluation.

use cedm_fault::{Fault, HasFault};
use std::path::PathBuf;

/// Why sets cannot be measured or compared.
#[derive(Debug, thiserror::Error)]
pub enum EvaluatorError {
    /// The numbers themselves.
    #[error(transparent)]
    Maths(#[from] cedm_maths::MathsError),
    /// The extractor or its weights.
    #[error(transparent)]
    Net(#[from] cedm_nets::NetError),
    /// The images.
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
        "{what} was measured by {found}, {other} by {expected}: scores across feature spaces mean nothing"
    )]
    OtherSpace {
        /// One set.
        what: String,
        /// Its feature space.
        found: String,
        /// The other set.
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
        /// One set.
        what: String,
        /// Channels and side.
        found: String,
        /// The other set.
        other: String,
        /// Channels and side of the other.
        expected: String,
    },
    /// A file that is not what it should be.
    #[error("{}: {reason}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// A metric that is not in the table.
    #[error("there is no metric `{found}`; known are {known}")]
    Metric {
        /// The name.
        found: String,
        /// All names.
        known: String,
    },
    /// A set that lacks what a metric or an option needs.
    #[error("{what} has {found}, needed is {needed}")]
    Lacking {
        /// Which set.
        what: String,
        /// What it has.
        found: &'static str,
        /// What is needed.
        needed: &'static str,
    },
    /// libtorch.
    #[error("{what}: {source}")]
    Torch {
        /// What was being done.
        what: String,
        /// libtorch's words.
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

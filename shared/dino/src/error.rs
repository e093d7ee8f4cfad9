//! The error type of this crate.

use cedm_fault::{Fault, HasFault};
use cedm_nets::NetError;
use cedm_tensor_files::TensorFileError;

/// Why a training cannot start, continue or be saved.
#[derive(Debug, thiserror::Error)]
pub enum DinoError {
    /// A parameter outside its range, or one that does not fit the images or the backbone.
    #[error("{0}")]
    Parameters(String),
    /// An extractor that cannot be trained.
    #[error("{0}")]
    Backbone(String),
    /// A loss that is infinite or not a number.
    #[error("the loss is {loss} at step {step}: a smaller learning rate may help")]
    NotFinite {
        /// Value of the loss.
        loss: f64,
        /// Steps done, this one included.
        step: u64,
    },
    /// A checkpoint or backbone file that cannot be written.
    #[error(transparent)]
    TensorFile(#[from] TensorFileError),
    /// A checkpoint that cannot be read, or is that of another training.
    #[error(transparent)]
    Checkpoint(TensorFileError),
    /// Weights that could not be read, or do not fit the network.
    #[error(transparent)]
    Weights(#[from] NetError),
}

impl HasFault for DinoError {
    fn fault(&self) -> Fault {
        match self {
            // A diverging run is deterministic: it would diverge in the same step again.
            DinoError::Parameters(_) | DinoError::Backbone(_) | DinoError::NotFinite { .. } => {
                Fault::Input
            }
            DinoError::TensorFile(error) => error.fault(),
            DinoError::Checkpoint(error) => error.fault_in_checkpoint(),
            DinoError::Weights(error) => error.fault(),
        }
    }
}

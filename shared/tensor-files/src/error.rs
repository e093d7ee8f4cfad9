//! What can be wrong with a tensor file.

use cedm_fault::{Fault, HasFault};
use std::path::PathBuf;

/// Why a tensor file cannot be read or written. `file` is its path, or what the caller calls bytes
/// that lie in memory.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// The system could not read or write it.
    #[error("cannot {action} {}", file.display())]
    Io {
        /// What was tried: `read` or `write`.
        action: &'static str,
        /// The file it was tried on.
        file: PathBuf,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// It is no safetensors file, or a truncated or damaged one.
    #[error("{}: not a valid safetensors file: {reason}", file.display())]
    Format {
        /// The file that was read.
        file: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// Tensors that make no file: two of one name, or a shape that does not fit its numbers.
    #[error("{}: cannot be written: {reason}", file.display())]
    Layout {
        /// The file that they were meant for.
        file: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// It does not hold a tensor of this name.
    #[error("{}: tensor `{name}` is missing, found {found:?}", file.display())]
    Missing {
        /// The file that was read.
        file: PathBuf,
        /// The tensor that it lacks.
        name: String,
        /// Names of the tensors that it holds, in byte order.
        found: Vec<String>,
    },
    /// A tensor of another type or shape.
    #[error("{}: tensor `{name}` is {found}, expected {expected}", file.display())]
    Unexpected {
        /// The file that was read.
        file: PathBuf,
        /// The tensor that does not fit.
        name: String,
        /// Its type and shape.
        found: String,
        /// What was expected, in words.
        expected: String,
    },
}

impl HasFault for TensorFileError {
    fn fault(&self) -> Fault {
        match self {
            TensorFileError::Io { .. } => Fault::Unavailable,
            // Fetched files have been verified against their digest: what is wrong was written so.
            TensorFileError::Format { .. }
            | TensorFileError::Missing { .. }
            | TensorFileError::Unexpected { .. } => Fault::Input,
            TensorFileError::Layout { .. } => Fault::Bug,
        }
    }
}

impl TensorFileError {
    /// The fault where the file is a checkpoint or state that this program wrote itself. It
    /// verified against its digest when it was fetched, so content that does not fit is a bug and
    /// not wrong input: the one rule for the checkpoints of all trainings.
    pub fn fault_in_checkpoint(&self) -> Fault {
        match self.fault() {
            Fault::Unavailable => Fault::Unavailable,
            Fault::Input | Fault::Bug => Fault::Bug,
        }
    }
}

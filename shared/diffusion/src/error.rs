//! [`DiffusionError`], the one error type of this crate, and the guard that turns libtorch's
//! out-of-memory panics into it.

use cedm_fault::{DeviceFault, Fault, HasFault, device_fault};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
};

/// Why something cannot be built, trained, sampled, read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiffusionError {
    /// A setting is out of range.
    #[error("`{field}` is {found}, expected {expected}")]
    Setting {
        /// Name of the setting, as in the sweep file.
        field: &'static str,
        /// The value that was given.
        found: String,
        /// The allowed values, in words.
        expected: String,
    },
    /// Weights whose names or shapes are not those of this network.
    #[error("{origin} holds weights of another network: {difference}")]
    Weights {
        /// The file, or a name for the set of tensors.
        origin: String,
        /// Missing, unexpected and misshapen tensors.
        difference: String,
    },
    /// A tensor has the wrong shape or type.
    #[error("{what} has shape {found}, expected {expected}")]
    Shape {
        /// Name of the tensor.
        what: String,
        /// Its type and shape.
        found: String,
        /// The required type and shape.
        expected: String,
    },
    /// Labels that do not fit the network or the data.
    #[error("{what}: {found}, expected {expected}")]
    Labels {
        /// Where the labels come from.
        what: String,
        /// What was found, in words.
        found: String,
        /// What is needed, in words.
        expected: String,
    },
    /// The loss is not finite.
    #[error(
        "the loss became {loss} in step {step} (images {first_image} to {last_image} of the run, \
         seed {seed}, data indices {indices:?}); \
         last good state: {last_good}"
    )]
    Loss {
        /// The value: NaN or infinite.
        loss: f64,
        /// Optimiser step, counted from 0.
        step: u64,
        /// Images trained on before the step.
        first_image: u64,
        /// Images trained on after the step.
        last_image: u64,
        /// Seed of the run, from which every draw of the step derives.
        seed: u64,
        /// The first images of the batch, as positions in the data set.
        indices: Vec<i64>,
        /// The checkpoint to resume from, or the start of the run.
        last_good: String,
    },
    /// The device or the host ran out of memory.
    #[error("out of memory at {at}: try {advice}")]
    OutOfMemory {
        /// The operation that needed the memory.
        at: String,
        /// A setting to change.
        advice: String,
    },
    /// A tensor file that cannot be read or written.
    #[error(transparent)]
    TensorFile(#[from] cedm_tensor_files::TensorFileError),
    /// A training state that cannot be read or lacks a tensor.
    #[error(transparent)]
    Checkpoint(cedm_tensor_files::TensorFileError),
    /// A file whose content is unusable.
    #[error("cannot {action} {}: {reason}", path.display())]
    File {
        /// What was tried with the file: `read` or `write`.
        action: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A training state that belongs to another run.
    #[error("{} is the state of another run: {difference}", path.display())]
    State {
        /// Path of the file.
        path: PathBuf,
        /// The settings or data that differ.
        difference: String,
    },
    /// Any other error of libtorch, with the first line of its message.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl From<tch::TchError> for DiffusionError {
    fn from(error: tch::TchError) -> Self {
        // The first line is the message; the rest is a C++ backtrace.
        Self::Torch(
            error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        )
    }
}

impl DiffusionError {
    /// The same error, met while a training state was read.
    pub(crate) fn in_checkpoint(self) -> Self {
        match self {
            Self::TensorFile(error) => Self::Checkpoint(error),
            other => other,
        }
    }
}

impl HasFault for DiffusionError {
    fn fault(&self) -> Fault {
        match self {
            DiffusionError::Setting { .. }
            | DiffusionError::Weights { .. }
            | DiffusionError::Shape { .. }
            | DiffusionError::Labels { .. }
            | DiffusionError::File { .. }
            // The run is deterministic: it would diverge in the same step again.
            | DiffusionError::Loss { .. } => Fault::Input,
            // Another process on the machine may hold the memory now.
            DiffusionError::OutOfMemory { .. } => Fault::Unavailable,
            DiffusionError::TensorFile(error) => error.fault(),
            // A state that this program wrote itself and that verified when it was fetched.
            DiffusionError::Checkpoint(error) => error.fault_in_checkpoint(),
            DiffusionError::State { .. } | DiffusionError::Torch(_) => Fault::Bug,
        }
    }
}

/// Runs `work` and turns a panic of libtorch for lack of memory into an error that names the
/// operation (`at`) and a setting to change (`advice`). Other panics continue unwinding.
///
/// # Errors
/// [`DiffusionError::OutOfMemory`].
pub fn guard_memory<T>(
    at: impl Into<String>,
    advice: impl Into<String>,
    work: impl FnOnce() -> T,
) -> Result<T, DiffusionError> {
    catch_unwind(AssertUnwindSafe(work)).or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        if device_fault(&message) == Some(DeviceFault::OutOfMemory) {
            Err(DiffusionError::OutOfMemory {
                at: at.into(),
                advice: advice.into(),
            })
        } else {
            resume_unwind(panic)
        }
    })
}

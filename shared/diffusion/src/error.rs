//! The one error type of this crate.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
};

/// Why something cannot be built, trained, sampled, read or written.
#[derive(Debug, thiserror::Error)]
pub enum DiffusionError {
    /// A setting out of range.
    #[error("`{field}` is {found}, expected {expected}")]
    Setting {
        /// Which.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// Weights of another network.
    #[error("{origin} holds weights of another network: {difference}")]
    Weights {
        /// The file, or what the tensors are called.
        origin: String,
        /// Missing, unexpected and misshapen tensors.
        difference: String,
    },
    /// A tensor of a wrong shape or type.
    #[error("{what} has shape {found}, expected {expected}")]
    Shape {
        /// Which tensor.
        what: String,
        /// As found.
        found: String,
        /// As needed.
        expected: String,
    },
    /// Labels that do not fit the network or the data.
    #[error("{what}: {found}, expected {expected}")]
    Labels {
        /// Which labels.
        what: String,
        /// As found.
        found: String,
        /// As needed.
        expected: String,
    },
    /// A loss that is not finite.
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
        /// Count of images before the step.
        first_image: u64,
        /// Count of images after it.
        last_image: u64,
        /// Seed of the run, from which every draw of the step derives.
        seed: u64,
        /// The first images of the batch, as positions in the data set.
        indices: Vec<i64>,
        /// Where to go on from.
        last_good: String,
    },
    /// Memory ran out.
    #[error("out of memory at {at}: try {advice}")]
    OutOfMemory {
        /// Doing what.
        at: String,
        /// What to try.
        advice: String,
    },
    /// A file that cannot be read or written.
    #[error("cannot {action} {}: {reason}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A state that belongs to another run.
    #[error("{} is the state of another run: {difference}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// libtorch's own complaint.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl From<tch::TchError> for DiffusionError {
    fn from(error: tch::TchError) -> Self {
        // The first line says what; the rest is a C++ backtrace.
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

/// Runs `work`; where libtorch panics because memory ran out, says doing what and what to try.
/// Other panics go on.
///
/// # Errors
/// [`DiffusionError::OutOfMemory`].
pub fn guard_memory<T>(
    at: impl Into<String>,
    advice: impl Into<String>,
    work: impl FnOnce() -> T,
) -> Result<T, DiffusionError> {
    catch_unwind(AssertUnwindSafe(work)).or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let is_memory = [
            "out of memory",
            "can't allocate memory",
            "defaultcpuallocator",
            "cublas_status_alloc_failed",
            "cudnn_status_alloc_failed",
        ]
        .iter()
        .any(|text| message.contains(text));
        if is_memory {
            Err(DiffusionError::OutOfMemory {
                at: at.into(),
                advice: advice.into(),
            })
        } else {
            resume_unwind(panic)
        }
    })
}

//! Whose fault an error is: the one question that decides whether a failed job is tried again.
//!
//! Libraries answer it for their own errors by implementing [`HasFault`]; the runtime turns the
//! answer into what happens to the job: input errors go to the dead letters, the others are
//! retried. [`FileError`] is the error that libraries of file formats share. This crate knows no
//! other of the workspace, so that formulas and networks need no job loop to say what went wrong.
//! It reads and writes nothing.

#![forbid(unsafe_code)]

mod device;

pub use device::{DeviceFault, device_fault};

use std::{error::Error, io, path::PathBuf};

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The data or the parameters are wrong: the same work fails again in the same way.
    Input,
    /// A disk, a network, memory or a server did not do its part: the same work may succeed later.
    Unavailable,
    /// The program is wrong: an invariant does not hold, or a library refused what it should take.
    Bug,
}

/// An error that knows whose fault it is.
pub trait HasFault: Error {
    /// Whose fault it is.
    fn fault(&self) -> Fault;
}

/// Files of a job lie on the worker's own disk, so a file that cannot be read or written is not the
/// job's fault.
impl HasFault for io::Error {
    fn fault(&self) -> Fault {
        Fault::Unavailable
    }
}

/// What can be wrong with a file of any format.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// The attempted operation: "read", "write", "list" or "remove".
        action: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// It is in none of the supported formats, or damaged.
    #[error("{}: {reason}", path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
}

impl FileError {
    /// Makes the system's error one of this file, for `map_err`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
    /// A file whose content is not what it should be.
    pub fn format(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Format {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

impl HasFault for FileError {
    fn fault(&self) -> Fault {
        match self {
            FileError::Io { source, .. } => source.fault(),
            FileError::Format { .. } => Fault::Input,
        }
    }
}

//! Whose fault an error is: the one question that decides whether a failed job is tried again.
//!
//! Libraries answer it for their own errors by implementing [`HasFault`]; the runtime turns the
//! answer into what happens to the job: input errors go to the dead letters, the others are retried. This crate depends on nothing, so that formulas and networks need no
//! job loop to say what went wrong. It reads and writes nothing.

#![forbid(unsafe_code)]

use std::error::Error;

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
impl HasFault for std::io::Error {
    fn fault(&self) -> Fault {
        Fault::Unavailable
    }
}

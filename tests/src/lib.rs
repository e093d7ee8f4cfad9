//! Shared by the process tests: a whole system in a temporary home, started by the real `cedm`
//! program and observed through its output.
//!
//! Nothing is simulated. A [`System`] is `cedm up` with its children; it stops when the test's
//! process ends, in whatever way that happens.

#![forbid(unsafe_code)]

pub mod broker;
mod connection;
pub mod digits;
pub mod events;
pub mod failpoint;
pub mod http;
pub mod logs;
mod system;

pub use connection::manifests;
pub use system::{ACK_WAIT_S, StartOptions, System, program, wait_until};

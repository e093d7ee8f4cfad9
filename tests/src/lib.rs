//! What the process tests share: a whole system in a temporary home, started by the real `cedm`,
//! watched through its output.
//!
//! Nothing here is simulated. A [`System`] is `cedm up` with its children; it ends when the test's
//! process does, however that happens.

#![forbid(unsafe_code)]

pub mod digits;
pub mod events;
pub mod failpoint;
pub mod logs;
mod system;
mod wire;

pub use system::{ACK_WAIT_S, Start, System, program};

//! How a room lives: configuration, the NATS work loop, the store, telemetry, health and drain. No tensors.
//!
//! A service gives [`serve`] a [`Worker`]; everything that is the same in every room happens here.

#![forbid(unsafe_code)]

mod desk;
mod error;
mod monitor;
mod worker;

pub use desk::{Desk, Stability};
pub use error::{JobError, RuntimeError};
pub use monitor::{ConsoleMonitor, Monitor, QuietMonitor};
pub use worker::{Outcome, ServeArgs, Worker, serve};

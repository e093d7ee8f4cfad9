//! The worker: what a service must say of itself to be served.

use crate::{Desk, JobError, RuntimeError};
use cedm_contract::{JobResult, Service};
use std::collections::BTreeMap;

/// What a finished job hands over; the runtime writes the manifest.
#[derive(Debug)]
pub struct Outcome {
    /// What it found.
    pub result: JobResult,
    /// Numbers about the run.
    pub metrics: BTreeMap<String, f64>,
}

/// A service's own part: one job in, one outcome out, on the compute thread.
pub trait Worker: Send + 'static {
    /// Which service this is; it pulls the kinds of [`Service::kinds`].
    fn service(&self) -> Service;
    /// The device it computes on, for the lineage: `cpu` or the accelerator's name.
    fn device(&self) -> String;
    /// The service's own metrics: (name, help). Registered at start so that every series exists from the beginning.
    fn gauges(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
    /// The same for counters.
    fn counters(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
    /// Performs one job. Outputs go through [`Desk::put`]; a panic counts as [`JobError::Bug`].
    ///
    /// # Errors
    /// Anything; the variant decides what becomes of the message.
    fn perform(&mut self, desk: &Desk) -> Result<Outcome, JobError>;
}

/// Options of `serve`, the same for every service (clap: `#[command(flatten)]`).
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {}

/// Runs a service until SIGTERM or SIGINT: `main.rs` calls this and nothing else. `build` runs on the compute thread (it may
/// load libtorch).
///
/// # Errors
/// When NATS or the store cannot be reached in time, or are not what the protocol needs.
pub fn serve<W: Worker>(_args: ServeArgs, _build: impl FnOnce() -> anyhow::Result<W> + Send + 'static) -> Result<(), RuntimeError> {
    unimplemented!()
}

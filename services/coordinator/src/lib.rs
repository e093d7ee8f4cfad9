//! The coordinator: turns sweeps into jobs and results into a report.
//!
//! A thin shell around the pure planner: what a sweep wants, minus what has a manifest, minus what
//! is queued, is what it submits. Everything it knows is rebuilt from the store and the queue, so
//! it may be killed at any time, and two of them do no harm. It reads sweeps, manifests and dead
//! letters; it writes jobs, and at the end of a sweep its report and `sweep/<id>/done`. No tensors.

#![forbid(unsafe_code)]

mod artefacts;
mod gauges;
pub mod metrics;
mod reconcile;
mod report;
mod run;
mod serve;
mod sweeps;

pub use run::RunArgs;
pub use serve::{coordinate, serve};

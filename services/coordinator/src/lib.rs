//! The coordinator: a controller that turns sweeps into jobs and their results into a report.
//!
//! It works like a Kubernetes controller. The desired state of a sweep is the set of jobs that the
//! pure planner derives from its spec; the observed state is the set of manifests in the store and
//! of messages in the queue. [`serve`] reconciles the two until every job of every sweep is done,
//! dead or blocked by a dead one. The coordinator keeps no state that cannot be read again, so it
//! may be killed at any time, and two instances may run at once: submissions and commits are
//! idempotent.
//!
//! Reads: sweeps, manifests, dead letters, events. Writes: jobs; at the end of a sweep its report
//! and `sweep/<id>/done`. No tensors.
//!
//! Modules in the order of a sweep: `sweeps` (submitted sweeps in the store), `serve` (the control
//! loop), `reconcile` (desired minus existing jobs), `gauges` and `metrics` (what is shown
//! meanwhile), `artefacts` and `report` (the end of a sweep), and `run` (the plan of a sweep file
//! as a command).

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

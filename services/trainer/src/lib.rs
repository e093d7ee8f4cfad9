//! The trainer: images and a condition in, EMA weights and a resumable state out (C-EDM spec §7).
//!
//! Reads image shards, cluster assignments and the state of the segment before; writes
//! `ema.safetensors`, `state.safetensors` and `curve.json`. It never samples.

#![forbid(unsafe_code)]

mod bench;
mod conditions;
mod curve;
mod failure;
mod levels;
pub mod metrics;
mod pictures;
mod run;
mod segment;
mod settings;
mod worker;

pub use bench::BenchArgs;
pub use curve::{Curve, Tick};
pub use failure::job_error;
pub use levels::LossArgs;
pub use run::RunArgs;
pub use segment::{Finished, Segment};
pub use worker::Trainer;

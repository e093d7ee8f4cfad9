//! The trainer service: images and a condition in, EMA weights and a resumable state out (spec §7).
//! It performs `train` jobs, each a segment of a run.
//!
//! It reads image shards, cluster assignments and the state of the previous segment, and writes
//! `ema.safetensors`, `state.safetensors` and `curve.json`. The optimiser step is in
//! `cedm-diffusion`; it samples no images, except to measure speed.
//!
//! Modules in the order of a run: `pictures` (images in memory), `conditions` (what each image is
//! conditioned on), `settings` (presets with changes), `segment` (the training loop) with `curve`
//! (its numbers), `worker` (jobs from the queue), `run` (the command for plain files), `levels`
//! (the command `loss`) and `bench` (the command `bench`).

#![forbid(unsafe_code)]

mod bench;
mod conditions;
mod curve;
mod levels;
pub mod metrics;
mod pictures;
mod run;
mod segment;
mod settings;
mod worker;

pub use bench::BenchArgs;
pub use curve::{Curve, Tick};
pub use levels::LossArgs;
pub use run::RunArgs;
pub use segment::{Finished, Segment};
pub use worker::TrainerWorker;

//! The sampler service: weights, label prior and seeds in, shards of images out (spec §9). It
//! performs `sample` and `sample_set` jobs.
//!
//! It reads EMA weights and cluster assignments, and writes `images.safetensors` per shard and the
//! list of shards per set. The solver is in `cedm-diffusion`; it trains nothing and scores nothing.
//! An image depends on its seed, the weights and the sampler's settings, never on its shard.
//!
//! Modules in the order of a job: `source` (the network of a weight file), `labels` (the
//! distribution of labels), `worker` (jobs from the queue), `run` (the command for plain files) and
//! `export` (its output formats).

#![forbid(unsafe_code)]

mod export;
mod labels;
pub mod metrics;
mod run;
mod source;
mod worker;

pub use run::RunArgs;
pub use worker::SamplerWorker;

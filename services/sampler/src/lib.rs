//! The sampler: weights, a prior and seeds in, image shards out (C-EDM spec §9).
//!
//! Reads EMA weights and cluster assignments; writes `images.safetensors` per shard, and the list
//! of shards per set. An image depends on its seed, the weights and the sampler's settings, never
//! on the shard it was made in.

#![forbid(unsafe_code)]

mod export;
mod labels;
pub mod metrics;
mod run;
mod source;
mod worker;

pub use run::RunArgs;
pub use worker::SamplerWorker;

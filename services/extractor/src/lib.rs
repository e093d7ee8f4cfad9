//! The extractor: images in, features out.
//!
//! Reads image shards (an import's or a sample set's) and, for networks, a weight file; writes one feature shard for each image shard
//! and, when all are there, a set with mean and standard deviation. Knows nothing of clusters or training.

#![forbid(unsafe_code)]

mod adapt;
mod extract;
mod import;
mod judge;
mod merge;
mod run;
mod worker;

pub use adapt::{AdaptArgs, AdaptParams, AdaptStart, AdaptState, Adapted, Moment, adapt, moment};
pub use extract::{extract_shard, fit_shards, images_of, write_features};
pub use import::ImportArgs;
pub use judge::JudgeArgs;
pub use merge::Statistics;
pub use run::RunArgs;
pub use worker::ExtractorWorker;

//! The extractor: images in, features out.
//!
//! Reads image shards (an import's or a sample set's) and, for networks, a weight file; writes one
//! feature shard for each image shard and, when all are there, a set with mean and standard
//! deviation. Adapts backbones to an image set, and judges features by labels. Knows nothing of
//! clusters or of diffusion.

#![forbid(unsafe_code)]

mod adapt;
mod export;
mod extract;
mod feature_evaluation;
mod import;
mod inputs;
mod label;
mod merge;
pub mod metrics;
mod run;
mod worker;

pub use adapt::{AdaptArgs, adapt};
pub use export::ExportArgs;
pub use extract::{extract_shard, fit_shards, images_of, write_features};
pub use feature_evaluation::FeatureEvaluationArgs;
pub use import::ImportArgs;
pub use label::LabelArgs;
pub use merge::Statistics;
pub use run::RunArgs;
pub use worker::ExtractorWorker;

//! The extractor service: images in, features out.
//!
//! Reads image shards of an import or a sample set and, for networks, a weight file. Writes a
//! feature shard for every image shard and, when all are done, a feature set with mean and standard
//! deviation. Also adapts backbones to an image set, and evaluates features by labels. It knows
//! neither clusters nor diffusion.

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

pub use adapt::AdaptArgs;
pub use export::ExportArgs;
pub use feature_evaluation::FeatureEvaluationArgs;
pub use import::ImportArgs;
pub use label::LabelArgs;
pub use run::RunArgs;
pub use worker::ExtractorWorker;

//! The extractor service: images in, features out (spec §2). It performs `adapt`, `fit`, `extract`,
//! `features` and `judge` jobs.
//!
//! It reads image shards of an import or a sample set and, for networks, a weight file. It writes
//! a feature shard for every image shard and, when all are done, a feature set with mean and
//! standard deviation. It also adapts backbones to an image set, and evaluates features by labels.
//! The networks are in `cedm-nets`, the DINO training in `cedm-dino`.
//!
//! Modules in the order of a job: `import` (data sets to shards), `inputs` (images and weights of a
//! command), `adapt` (DINO training), `extract` (fits and feature shards), `merge` (the statistics
//! of a feature set), `feature_evaluation` (accuracies by labels), `worker` (jobs from the queue),
//! and the commands `run`, `label` and `export` for plain files.

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
mod output;
mod run;
mod worker;

pub use adapt::AdaptArgs;
pub use export::ExportArgs;
pub use feature_evaluation::FeatureEvaluationArgs;
pub use import::ImportArgs;
pub use label::LabelArgs;
pub use run::RunArgs;
pub use worker::ExtractorWorker;

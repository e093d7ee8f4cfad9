//! The evaluator: images → features and float64 moments of one shard → merged reference → scores
//! (spec §10).
//!
//! Reads image shards, sample sets and an extractor's weights; writes features, moments, reference
//! statistics and scores by the metric table ([`cedm_catalogue::metrics`]). It trains nothing and
//! draws nothing but the random subsets that some metrics ask for.

#![forbid(unsafe_code)]

mod cells;
pub mod confidence;
mod error;
pub mod measure;
pub mod metrics;
pub mod run;
pub mod score;
pub mod set;
mod space;
mod worker;

pub use error::EvaluatorError;
pub use set::MeasuredSet;
pub use space::FeatureSpace;
pub use worker::EvaluatorWorker;

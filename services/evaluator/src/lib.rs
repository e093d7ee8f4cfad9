//! The evaluator service: shards of images in; features, moments, reference statistics and scores
//! out (spec §10). It performs `measure`, `reference` and `score` jobs.
//!
//! It reads image shards, sample sets and an extractor's weights, and computes the scores of the
//! metric table ([`cedm_catalogue::metrics`]). The formulas are in `cedm-maths`, the networks in
//! `cedm-nets`. It trains nothing, and draws no random numbers but the subsets of rows that some
//! metrics need.
//!
//! Modules in the order of a job: [`measure`] (features and moments of a shard), [`set`] (the
//! measured set, merged from its shards), `space` (the feature space it was measured in), [`score`]
//! (which formula gives which metric) with `cells` and [`confidence`] (the inputs of two metrics),
//! `worker` (jobs from the queue) and [`run`] (the command for plain files).

#![forbid(unsafe_code)]

mod cells;
pub mod confidence;
mod error;
pub mod measure;
pub mod metrics;
pub mod run;
pub mod score;
pub mod set;
mod shards;
mod space;
mod worker;

pub use error::EvaluatorError;
pub use set::MeasuredSet;
pub use space::FeatureSpace;
pub use worker::EvaluatorWorker;

//! Evaluation (spec §10) and the report.

use crate::{SweepId, params::ExtractorSpec};
use serde::{Deserialize, Serialize};

/// Features and moments of one shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureParams {
    /// The evaluation feature space.
    pub extractor: ExtractorSpec,
    /// Index of the shard in the set.
    pub shard: u32,
}

/// Merges the reference side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceParams {
    /// The evaluation feature space.
    pub extractor: ExtractorSpec,
}

/// Scores one sample set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreParams {
    /// The evaluation feature space.
    pub extractor: ExtractorSpec,
    /// Names of [`crate::metrics::METRICS`]: `fd`, `ufd`, `kid`, `precision`, `recall`, `density`, `coverage`, `inception_score`, …
    pub metrics: Vec<String>,
    /// Seed of random subsets.
    pub seed: u64,
}

/// The report of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportParams {
    /// The sweep.
    pub sweep: SweepId,
}

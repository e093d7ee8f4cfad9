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
    /// Of more images, a random subset of this many is the reference (spec §10.2): drawn without
    /// replacement by NumPy's seed [`REFERENCE_SEED`], in order. All of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
}

/// The seed by which dgm-eval draws the subset of a large reference set.
pub const REFERENCE_SEED: u32 = 13579;

/// Images of the reference in this feature space, where the literature limits them: 50,000 for FDD,
/// all elsewhere.
pub fn reference_limit(extractor: &str) -> Option<u64> {
    (extractor == "dinov2_vitl14").then_some(50_000)
}

/// Scores one sample set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreParams {
    /// The evaluation feature space.
    pub extractor: ExtractorSpec,
    /// Names of [`crate::metrics::METRICS`]: `fd`, `ufd`, `kid`, `precision`, `recall`, `density`,
    /// `coverage`, `inception_score`, …
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

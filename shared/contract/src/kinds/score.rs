//! The scores of one sample set against a reference (spec §10).

use super::JobKind;
use crate::{ExtractorSpec, OutputName, Service, inputs::inputs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which scores, in which feature space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreParams {
    /// The evaluation feature space.
    pub extractor: ExtractorSpec,
    /// Names from the table of `cedm metrics`: `fd`, `ufd`, `kid`, `precision`, `recall`, …
    pub metrics: Vec<String>,
    /// Seed of random subsets.
    pub seed: u64,
}

impl JobKind for ScoreParams {
    const SERVICE: Service = Service::Evaluator;
    const VERSION: u32 = 2;
    // One metric over all pairs of two sets.
    const STALL_AFTER_S: u64 = 14_400;
    type Inputs<T> = ScoreInputs<T>;
    type Result = ScoreResult;
}

inputs! {
    /// What scores are computed from. A metric whose input is absent gets a score without value.
    pub struct ScoreInputs<T> {
        /// The training images (Reference).
        pub reference: T as "reference",
        /// The shards of the sample set (Measure), or parts of it (Reference with `partial`), in
        /// order.
        pub shards: Vec<T> as "shard",
        /// The unconditional network's sample set from the same seeds (Reference), for `ufd`.
        pub unconditional: Option<T> as "unconditional",
        /// The test split (Reference), for `auroc` and `ct`.
        pub test: Option<T> as "test",
        /// The TEMI clustering behind the network's condition (Cluster), for `confidence`.
        pub condition: Option<T> as "condition",
    }
}

/// The confidence of every image, in seed order, where `confidence` was asked for.
pub const CONFIDENCE: OutputName = OutputName::stable("confidence.safetensors");

/// Names and shapes of the tensors in [`CONFIDENCE`], for n images of the sample set.
pub mod confidence {
    use crate::TensorName;

    /// Maximum log-softmax of the TEMI head.
    pub const LOG_CONFIDENCE: TensorName = TensorName::new("log_confidence", "f32 [n]");
    /// The cluster at that maximum.
    pub const CLUSTER: TensorName = TensorName::new("cluster", "i64 [n]");
}

/// Scores by metric name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreResult {
    /// Images of the sample set.
    pub count: u64,
    /// Images of the reference.
    pub reference_count: u64,
    /// By name, as in the parameters.
    pub scores: BTreeMap<String, Score>,
}

/// The value of one metric, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The number; absent when it could not be computed.
    pub value: Option<f64>,
    /// Standard deviation within the metric itself (KID subsets, IS splits), if it has one.
    #[serde(default)]
    pub std: Option<f64>,
    /// Why there is no number.
    #[serde(default)]
    pub missing: Option<String>,
}

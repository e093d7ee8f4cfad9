//! Features and float64 moments of one image shard in an evaluation feature space (spec §10).

use super::JobKind;
use crate::{ExtractorSpec, OutputName, Service, inputs::inputs};
use serde::{Deserialize, Serialize};

/// Which shard, in which feature space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureParams {
    /// The evaluation feature space.
    pub extractor: ExtractorSpec,
    /// Index of the shard in the set.
    pub shard: u32,
}

impl JobKind for MeasureParams {
    const SERVICE: Service = Service::Evaluator;
    const VERSION: u32 = 2;
    type Inputs<T> = MeasureInputs<T>;
    type Result = MeasureResult;
}

inputs! {
    /// What a measurement reads.
    pub struct MeasureInputs<T> {
        /// The image set (Import) or sample set (SampleSet).
        pub images: T as "images",
        /// What a fitted extractor learnt from the training images (Fit).
        pub fit: Option<T> as "fit",
    }
}

/// The features, with the tensors of [`super::extract::features`].
pub const FEATURES: OutputName = OutputName::stable("features.safetensors");

/// Count, sum and sum of outer products of the features, for the mean and covariance of the set.
pub const MOMENTS: OutputName = OutputName::stable("moments.safetensors");

/// What made the features: extractor, digest of its weights, precision.
pub const SPACE: OutputName = OutputName::stable("space.json");

/// Names and shapes of the tensors in [`MOMENTS`], for features X of width D.
pub mod moments {
    use crate::TensorName;

    /// Number of rows of X.
    pub const COUNT: TensorName = TensorName::new("count", "i64 [1]");
    /// Sum of the rows.
    pub const SUM: TensorName = TensorName::new("sum", "f64 [D]");
    /// XᵀX, the sum of the outer products of the rows.
    pub const OUTER: TensorName = TensorName::new("outer", "f64 [D, D]");
}

/// How large the features are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureResult {
    /// Rows of the features: one for each image of the shard.
    pub count: u64,
    /// Width D of a feature row.
    pub dim: u32,
}

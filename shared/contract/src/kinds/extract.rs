//! Features of one shard of an image set.

use super::JobKind;
use crate::{ExtractorSpec, OutputName, Service, inputs::inputs};
use serde::{Deserialize, Serialize};

/// Which shard, by which extractor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtractParams {
    /// The extractor and its weights.
    pub extractor: ExtractorSpec,
    /// Index of the shard in the set.
    pub shard: u32,
}

impl JobKind for ExtractParams {
    const SERVICE: Service = Service::Extractor;
    const VERSION: u32 = 2;
    type Inputs<T> = ExtractInputs<T>;
    type Result = ExtractResult;
}

inputs! {
    /// What an extraction reads.
    pub struct ExtractInputs<T> {
        /// The image set (Import) or sample set (SampleSet).
        pub images: T as "images",
        /// What a fitted extractor learnt (Fit).
        pub fit: Option<T> as "fit",
        /// The backbone of an adapted extractor (Adapt), which takes the place of its weights.
        pub adapted: Option<T> as "adapted",
    }
}

/// The features of the shard.
pub const FEATURES: OutputName = OutputName::stable("features.safetensors");

/// Names and shapes of the tensors in [`FEATURES`], for n images of the shard.
pub mod features {
    use crate::TensorName;

    /// One row per image, in order.
    pub const FEATURES: TensorName = TensorName::new("features", "f32 [n, D]");
    /// Outputs of the classifier, where the extractor has one.
    pub const LOGITS: TensorName = TensorName::new("logits", "f32 [n, classes]");
}

/// How large the features are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractResult {
    /// Rows of the features: one for each image of the shard.
    pub count: u64,
    /// Width D of a feature row.
    pub dim: u32,
}

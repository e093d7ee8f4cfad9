//! The reference side of a score: merged moments of an image or sample set, and their matrix root.
//!
//! Of a set of more shards than one message can name, parts are listed first, by jobs with
//! `partial` set; a reference, or the score of a sample set, is then computed from the parts. A
//! part is a list and nothing else, so that the numbers do not depend on how a set was cut.

use super::JobKind;
use crate::{ExtractorSpec, OutputName, Service, ShardRef, inputs::inputs};
use serde::{Deserialize, Serialize};

/// In which feature space, by how many images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceParams {
    /// The evaluation feature space.
    pub extractor: ExtractorSpec,
    /// Of more images, a random subset of this many is the reference (spec §10.2): drawn without
    /// replacement by NumPy's seed [`REFERENCE_SEED`], in order. All of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// Whether this is a part of a larger set: it lists its shards and their moments, and has no
    /// [`REFERENCE`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// The seed by which dgm-eval draws the subset of a large reference set.
pub const REFERENCE_SEED: u32 = 13579;

/// Images of the reference in this feature space, where the literature limits them: 50,000 for FDD,
/// all elsewhere.
pub fn reference_limit(extractor: &str) -> Option<u64> {
    (extractor == "dinov2_vitl14").then_some(50_000)
}

impl JobKind for ReferenceParams {
    const SERVICE: Service = Service::Evaluator;
    const VERSION: u32 = 1;
    // One eigendecomposition.
    const STALL_AFTER_S: u64 = 7_200;
    type Inputs<T> = ReferenceInputs<T>;
    type Result = ReferenceResult;

    fn shards(reference: &ReferenceResult) -> Vec<&ShardRef> {
        let moments = reference.moments.iter();
        reference.shards.iter().chain(moments).collect()
    }
    fn shards_mut(reference: &mut ReferenceResult) -> Vec<&mut ShardRef> {
        let moments = reference.moments.iter_mut();
        reference.shards.iter_mut().chain(moments).collect()
    }
}

inputs! {
    /// What a reference is merged from.
    pub struct ReferenceInputs<T> {
        /// The shards (Measure), or parts of the set (Reference with `partial`), in its order.
        pub shards: Vec<T> as "shard",
    }
}

/// Mean, covariance and its root; a part has none.
pub const REFERENCE: OutputName = OutputName::stable("reference.safetensors");

/// The features of a reference that was cut to a subset: its only shard, with the tensors of
/// [`super::extract::features`].
pub const FEATURES: OutputName = OutputName::stable("features.safetensors");

/// What made the features: extractor, digest of its weights, precision.
pub const SPACE: OutputName = OutputName::stable("space.json");

/// Names and shapes of the tensors in [`REFERENCE`], for features of width D.
pub mod gaussian {
    use crate::TensorName;

    /// Mean of every column.
    pub const MU: TensorName = TensorName::new("mu", "f64 [D]");
    /// Covariance of the columns (ddof 1).
    pub const SIGMA: TensorName = TensorName::new("sigma", "f64 [D, D]");
    /// R with R Rᵀ = sigma; columns of vanishing eigenvalues are left out.
    pub const ROOT: TensorName = TensorName::new("root", "f64 [D, rank]");
}

/// How large the reference is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceResult {
    /// Number of images that the moments were computed from.
    pub count: u64,
    /// Width D of a feature row.
    pub dim: u32,
    /// Feature shards in order, for metrics that need single features.
    pub shards: Vec<ShardRef>,
    /// Of a part, the [`super::measure::MOMENTS`] of every shard, in order; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<ShardRef>,
}

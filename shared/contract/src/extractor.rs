//! Which feature extractor a job uses: named alike by every kind that extracts features.

use crate::ObjectRef;
use serde::{Deserialize, Serialize};

/// Most bytes of a weight file: three times the largest published backbones. All of it is read for
/// its digest before anything in it is looked at.
pub const MOST_WEIGHT_BYTES: u64 = 64 << 30;

/// Arithmetic of a network's forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// float32 throughout, without TF32 in matrix products.
    #[default]
    Fp32,
    /// float32 with TF32 matrix products, on GPUs that have them.
    Tf32,
    /// bfloat16 activations, float32 weights.
    Bf16,
    /// float16 activations, float32 weights.
    Fp16,
}

/// A feature extractor: which one, with which weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtractorSpec {
    /// Its name in the table of `cedm extractors`: `pixels`, `pca`, `cifar_resnet56`,
    /// `dino_vitb16`, `inception_fid`, …
    pub name: String,
    /// The weights, for extractors that need a file.
    #[serde(default)]
    pub weights: Option<ObjectRef>,
    /// Feature width of extractors that can choose it (`pca`).
    #[serde(default)]
    pub dim: Option<u32>,
    /// Arithmetic of the forward pass; float32 by default.
    #[serde(default)]
    pub precision: Precision,
}

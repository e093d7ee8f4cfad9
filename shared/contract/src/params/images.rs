//! Images and features.

use crate::{Digest, ObjectRef};
use serde::{Deserialize, Serialize};

/// An import: the images' own content names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportParams {
    /// See [`crate::ImageSet::content`].
    pub content: Digest,
    /// Digest over labels and class names, so that relabelled images are another set.
    pub labels: Digest,
    /// Images per shard.
    pub shard_size: u32,
}

/// Arithmetic of a network's forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// float32 without TF32.
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
    /// Arithmetic.
    #[serde(default)]
    pub precision: Precision,
}

/// Learns what a fitted extractor needs (`pca`: mean and basis) from a whole image set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitParams {
    /// The extractor.
    pub extractor: ExtractorSpec,
}

/// Features of one shard of an image set or sample set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtractParams {
    /// The extractor.
    pub extractor: ExtractorSpec,
    /// Index of the shard in the set.
    pub shard: u32,
}

/// Merges feature shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeaturesParams {
    /// Number of shards, for the record.
    pub shards: u32,
}

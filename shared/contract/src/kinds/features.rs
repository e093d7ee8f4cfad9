//! All features of an image set: its feature shards in order, with mean and standard deviation.
//!
//! Of a set of more shards than one message can name, parts are listed first, by jobs with
//! `partial` set, and then the whole from the parts. A part is a list and nothing else, so that the
//! numbers of the whole do not depend on how it was cut.

use super::JobKind;
use crate::{OutputName, Service, ShardRef, inputs::inputs};
use serde::{Deserialize, Serialize};

/// How many shards are merged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeaturesParams {
    /// Number of inputs, for the record.
    pub shards: u32,
    /// Whether this is a part of a larger set: it lists its shards, and has no [`STATISTICS`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl JobKind for FeaturesParams {
    const SERVICE: Service = Service::Extractor;
    const VERSION: u32 = 1;
    type Inputs<T> = FeaturesInputs<T>;
    type Result = FeatureSet;

    fn shards(set: &FeatureSet) -> Vec<&ShardRef> {
        set.shards.iter().collect()
    }
    fn shards_mut(set: &mut FeatureSet) -> Vec<&mut ShardRef> {
        set.shards.iter_mut().collect()
    }
}

inputs! {
    /// What a merge of features reads.
    pub struct FeaturesInputs<T> {
        /// The shards (Extract), or parts of the set (Features with `partial`), in the order of the
        /// image set.
        pub shards: Vec<T> as "shard",
    }
}

/// Statistics of the whole set; a part has none.
pub const STATISTICS: OutputName = OutputName::stable("stats.safetensors");

/// Names and shapes of the tensors in [`STATISTICS`], for features of width D.
pub mod statistics {
    use crate::TensorName;

    /// Mean of every column.
    pub const MEAN: TensorName = TensorName::new("mean", "f64 [D]");
    /// Standard deviation of every column (ddof 1).
    pub const STD: TensorName = TensorName::new("std", "f64 [D]");
}

/// All features of an image set. Its shards are the outputs of the extractions, with the tensors of
/// [`super::extract::features`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSet {
    /// Rows of all shards together: one for each image of the set.
    pub count: u64,
    /// Width D of a feature row.
    pub dim: u32,
    /// The shards in order.
    pub shards: Vec<ShardRef>,
}

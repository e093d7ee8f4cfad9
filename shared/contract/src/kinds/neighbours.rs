//! Exact cosine nearest neighbours of every row of a feature set, the row itself excluded (spec
//! §3).
//!
//! A large set is searched in parts, each a job of its own with `part` set, and a job without
//! `part` that merges them; a small one in one job.

use super::JobKind;
use crate::{OutputName, Service, inputs::inputs};
use serde::{Deserialize, Serialize};

/// How many neighbours, and which part of the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighboursParams {
    /// Number of neighbours of every row.
    pub k: u32,
    /// One part of a search that several jobs share; absent for a whole search and for the merge of
    /// parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<NeighbourPart>,
}

/// A part of a search: it compares block `index` of the rows with itself and with the `of`/2 blocks
/// after it, in a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourPart {
    /// Which block, from 0.
    pub index: u32,
    /// Blocks, and parts, in all: an odd number, so that every pair of blocks is compared once.
    pub of: u32,
}

impl JobKind for NeighboursParams {
    const SERVICE: Service = Service::Clusterer;
    const VERSION: u32 = 1;
    type Inputs<T> = NeighboursInputs<T>;
    type Result = NeighboursResult;
}

inputs! {
    /// What a search for neighbours reads.
    pub struct NeighboursInputs<T> {
        /// The features of all images (Features).
        pub features: T as "features",
        /// The parts to be merged (Neighbours); empty in a part and in a search of one job.
        pub parts: Vec<T> as "part",
    }
}

/// The neighbours of every row; of a whole search and of a merge.
pub const NEIGHBOURS: OutputName = OutputName::stable("neighbours.safetensors");

/// What a part of a search found, for the merge.
pub const CANDIDATES: OutputName = OutputName::stable("candidates.safetensors");

/// Names and shapes of the tensors in [`NEIGHBOURS`], for n rows with k neighbours each.
pub mod neighbour_lists {
    use crate::TensorName;

    /// Row numbers of the neighbours, the nearest first.
    pub const INDICES: TensorName = TensorName::new("indices", "i32 [n, k]");
    /// Cosine similarities of the row and its neighbours, in the order of the indices.
    pub const SIMILARITIES: TensorName = TensorName::new("similarities", "f32 [n, k]");
}

/// Tensors of [`CANDIDATES`]: one pair for each block of rows that the part compared.
pub mod candidates {
    use super::neighbour_lists::{INDICES, SIMILARITIES};

    /// `indices.<block>`: i32 \[rows of the block, at most k\].
    pub fn indices(block: u32) -> String {
        format!("{INDICES}.{block}")
    }
    /// `similarities.<block>`: f32, or as the features are, of the same shape.
    pub fn similarities(block: u32) -> String {
        format!("{SIMILARITIES}.{block}")
    }
}

/// How many neighbours were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighboursResult {
    /// Rows of the features.
    pub count: u64,
    /// Number of neighbours of every row.
    pub k: u32,
}

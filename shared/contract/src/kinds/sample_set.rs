//! All shards of a sample set.
//!
//! A set of more shards than one message can name is listed from parts, which are sample sets too.

use super::JobKind;
use crate::{Service, ShardRef, inputs::inputs};
use serde::{Deserialize, Serialize};

/// Which images the set consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleSetParams {
    /// Seed of the first image of the set.
    pub first_seed: u64,
    /// Number of images in all shards.
    pub count: u64,
}

impl JobKind for SampleSetParams {
    const SERVICE: Service = Service::Sampler;
    const VERSION: u32 = 1;
    // It only reads and writes.
    const STALL_AFTER_S: u64 = 900;
    type Inputs<T> = SampleSetInputs<T>;
    type Result = SampleSetResult;

    fn shards(set: &SampleSetResult) -> Vec<&ShardRef> {
        set.shards.iter().collect()
    }
    fn shards_mut(set: &mut SampleSetResult) -> Vec<&mut ShardRef> {
        set.shards.iter_mut().collect()
    }
}

inputs! {
    /// What a merge of samples reads.
    pub struct SampleSetInputs<T> {
        /// The shards (Sample), or parts of the set (SampleSet), by ascending seed.
        pub shards: Vec<T> as "shard",
    }
}

/// A sample set. Its shards are outputs of the samplers, with the tensors of
/// [`super::sample::images`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleSetResult {
    /// Number of images in all shards.
    pub count: u64,
    /// Channels of every image: 1 for grey, 3 for RGB.
    pub channels: u32,
    /// Side of the square images in pixels.
    pub resolution: u32,
    /// Seed of the first image; seeds are consecutive.
    pub first_seed: u64,
    /// The shards in order.
    pub shards: Vec<ShardRef>,
}

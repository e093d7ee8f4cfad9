//! An image set turned into shards; committed by `cedm import`, never queued.

use super::JobKind;
use crate::{Digest, NoInputs, OutputName, Service, ShardRef};
use serde::{Deserialize, Serialize};

/// An import: the images' own content names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportParams {
    /// Digest over the images in order: [`ImageSet::content`].
    pub content: Digest,
    /// Digest over labels and class names, so that relabelled images are another set.
    pub labels: Digest,
    /// Images per shard; the last one may hold fewer.
    pub shard_size: u32,
}

impl JobKind for ImportParams {
    const SERVICE: Service = Service::Cli;
    const VERSION: u32 = 1;
    const IS_QUEUED: bool = false;
    type Inputs<T> = NoInputs;
    type Result = ImageSet;

    fn shards(set: &ImageSet) -> Vec<&ShardRef> {
        set.shards.iter().collect()
    }
    fn shards_mut(set: &mut ImageSet) -> Vec<&mut ShardRef> {
        set.shards.iter_mut().collect()
    }
}

/// Names of the images in order, one JSON string a line.
pub const NAMES: OutputName = OutputName::volatile("names.jsonl");

/// Files that could not be used and why, where there were any.
pub const SKIPPED: OutputName = OutputName::volatile("skipped.json");

/// Tensors of every shard of the set.
pub mod shard {
    use crate::TensorName;

    /// The pixels of every image, channel first.
    pub const IMAGES: TensorName = TensorName::new("images", "u8 [n, channels, side, side]");
    /// Digest of every image (shape and pixels).
    pub const DIGESTS: TensorName = TensorName::new("digests", "u8 [n, 32]");
    /// Labels, −1 where an image has none; absent in unlabelled sets.
    pub const LABELS: TensorName = TensorName::new("labels", "i64 [n]");
    /// Coarse labels, where the set has them.
    pub const COARSE_LABELS: TensorName = TensorName::new("coarse_labels", "i64 [n]");
}

/// An imported image set; the tensors of its shards are named in [`shard`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSet {
    /// Number of images in all shards.
    pub count: u64,
    /// Channels of every image: 1 for grey, 3 for RGB.
    pub channels: u32,
    /// Side of the square images in pixels.
    pub resolution: u32,
    /// Number of classes; 0 when unlabelled.
    pub classes: u32,
    /// Number of coarse classes; 0 when there are none.
    #[serde(default)]
    pub coarse_classes: u32,
    /// Names of the classes, where known.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Digest over the digests of the images (shape and pixels) in order: the same for every
    /// container and shard size.
    pub content: Digest,
    /// The shards in order.
    pub shards: Vec<ShardRef>,
}

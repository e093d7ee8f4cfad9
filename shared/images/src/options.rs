//! What an import may be told.

use crate::Limits;
use serde::{Deserialize, Serialize};

/// How an image is brought to the wanted size; always by Pillow's Lanczos, as the EDM tool does
/// (spec §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Straight resize, aspect not kept (FFHQ, AFHQ).
    #[default]
    Scale,
    /// The central square, then resize.
    CenterCrop,
    /// The central part of the wanted aspect, resized and centred on a black square.
    CenterCropWide,
}

/// Channels of the imported images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// Those of the first image; a grey one in a colour set is repeated.
    #[default]
    Auto,
    /// 1; colour images become luma as Pillow's `convert("L")` does.
    Grey,
    /// 3; grey images are repeated.
    Rgb,
}

/// Which part of a data set that comes with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Training images.
    #[default]
    Train,
    /// Test images.
    Test,
}

/// Options of [`crate::import`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOptions {
    /// Width and height to bring every image to; images stay as they are when absent, and must then
    /// all be equal squares.
    pub resolution: Option<(u32, u32)>,
    /// How to bring them there.
    pub framing: Framing,
    /// Channels.
    pub channels: Channels,
    /// Images per shard.
    pub shard_size: u32,
    /// Stop at the first corrupt image instead of counting and listing it.
    pub strict: bool,
    /// Which part of a CIFAR archive.
    pub split: Split,
    /// Only what lies below this folder inside the source: `train`.
    pub inside: Option<String>,
    /// Leave all labels out.
    pub ignore_labels: bool,
    /// Take the first images only, in the order of the set.
    pub max_images: Option<u64>,
    /// Threads that decode; all cores when 0.
    pub threads: usize,
    /// Bounds on the source.
    pub limits: Limits,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            resolution: None,
            framing: Framing::default(),
            channels: Channels::default(),
            shard_size: 4096,
            strict: false,
            split: Split::default(),
            inside: None,
            ignore_labels: false,
            max_images: None,
            threads: 0,
            limits: Limits::default(),
        }
    }
}

//! Options of an import.

mod args;

use crate::Limits;
pub use args::SourceArgs;
use serde::{Deserialize, Serialize};

/// How an image is cropped and resized to the wanted resolution; always by Pillow's Lanczos filter,
/// as the EDM tool does (spec §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Resize both sides without crop; the aspect ratio is not kept (FFHQ, AFHQ).
    #[default]
    Scale,
    /// The central square, then resize.
    CenterCrop,
    /// The central part of the wanted aspect ratio, resized and centred on a black square.
    CenterCropWide,
}

/// Channels of the imported images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// As many as the first image has; a grey image in a colour set is repeated.
    #[default]
    Auto,
    /// One; colour images become luma as by Pillow's `convert("L")`.
    Grey,
    /// Three; grey images are repeated.
    Rgb,
}

/// Training or test part of a data set that comes with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The training part of the data set.
    #[default]
    Train,
    /// The test part of the data set.
    Test,
}

impl Split {
    /// Its name, as formats and their authors write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// What of a source is the set, where it holds files of several kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadAs {
    /// The tar files, as WebDataset shards or as classes.
    Shards,
    /// The images, wherever they lie below the folder.
    Images,
    /// The parquet files.
    Tables,
    /// The LMDB database.
    Database,
    /// The numpy arrays.
    Arrays,
    /// The batches of CIFAR.
    Cifar,
    /// MNIST's idx files.
    Idx,
}

impl ReadAs {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shards => "shards",
            Self::Images => "images",
            Self::Tables => "tables",
            Self::Database => "database",
            Self::Arrays => "arrays",
            Self::Cifar => "cifar",
            Self::Idx => "idx",
        }
    }

    /// Its files, in words.
    pub fn files(self) -> &'static str {
        match self {
            Self::Shards => "tar files",
            Self::Images => "images",
            Self::Tables => "parquet files",
            Self::Database => "LMDB databases",
            Self::Arrays => "arrays of images",
            Self::Cifar => "batches of CIFAR",
            Self::Idx => "idx files",
        }
    }
}

/// Range of the numbers in arrays of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// From 0 (black) to 1 (white), as torchvision's `ToTensor` gives.
    Unit,
    /// From −1 (black) to 1 (white), as diffusion models see images.
    Signed,
}

/// The order of the axes of an array of images: n images, h rows, w columns, c channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrayLayout {
    /// Grey images.
    Nhw,
    /// Channels last, as TensorFlow and Pillow have them.
    Nhwc,
    /// Planes, as PyTorch has them.
    Nchw,
    /// One image, channels last.
    Hwc,
    /// One image, in planes.
    Chw,
}

impl ArrayLayout {
    /// Its name, one letter for each axis.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nhw => "nhw",
            Self::Nhwc => "nhwc",
            Self::Nchw => "nchw",
            Self::Hwc => "hwc",
            Self::Chw => "chw",
        }
    }
}

/// How [`crate::import`] reads a source and cuts it into shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportOptions {
    /// Width and height that every image is resized to. Without it images stay as they are, and
    /// must all be squares of one size.
    pub resolution: Option<(u32, u32)>,
    /// How images are cropped and resized.
    pub framing: Framing,
    /// Number of channels of the result.
    pub channels: Channels,
    /// Images per shard; decides the digest of no image, but the number of jobs.
    pub shard_size: u32,
    /// Stop at the first corrupt image instead of counting and listing it.
    pub strict: bool,
    /// Which part of a CIFAR archive, of idx files, an npz file or a folder of parquet files; other
    /// sources have none, and the test part of one is refused.
    pub split: Split,
    /// Use only members below this folder inside the source, such as `train`.
    pub inside: Option<String>,
    /// Import only images whose name matches one of these globs, where there are any. `*` matches
    /// slashes too, so that `*.jpg` means every JPEG file.
    pub include: Vec<String>,
    /// Import no image whose name matches one of these globs.
    pub exclude: Vec<String>,
    /// The field of WebDataset samples, column of a table or array of an npz file that is the
    /// image, where there are several.
    pub image_field: Option<String>,
    /// The field of WebDataset samples, key of their JSON field, column of a table or a metadata
    /// file, or array of an npz file that is the label.
    pub label_field: Option<String>,
    /// What of a source is the set, where it holds files of several kinds.
    pub read_as: Option<ReadAs>,
    /// Range of the numbers in an array of floats; such an array is refused without it.
    pub values: Option<Values>,
    /// Order of the axes of an array; one whose shape can be read in several ways is refused
    /// without it.
    pub layout: Option<ArrayLayout>,
    /// Import the images without labels, even where the source has them.
    pub ignore_labels: bool,
    /// Import only this many images, in the order of the set.
    pub max_images: Option<u64>,
    /// Threads that decode; 0 for all cores.
    pub threads: usize,
    /// Bounds on what the source may expand to.
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
            include: Vec::new(),
            exclude: Vec::new(),
            image_field: None,
            label_field: None,
            read_as: None,
            values: None,
            layout: None,
            ignore_labels: false,
            max_images: None,
            threads: 0,
            limits: Limits::default(),
        }
    }
}

//! The options of an import on a command line, the same for every program that reads images.

use super::{ArrayLayout, Channels, Framing, ImportOptions, ReadAs, Split, Values};
use clap::{Args, ValueEnum};

/// How a source of images is read.
#[derive(Args, Clone, Debug)]
pub struct SourceArgs {
    /// Size in pixels to which images are resized: `32`, or `128x96` (width x height). Without it
    /// images keep their size, and all must be squares of one size
    #[arg(long, value_parser = resolution, value_name = "N")]
    pub resolution: Option<(u32, u32)>,
    /// How images are fitted to that size, before Pillow's Lanczos filter resizes them
    #[arg(long, value_enum, default_value = "scale")]
    pub framing: FramingArg,
    /// Colour channels; by default those of the first image
    #[arg(long, value_enum, default_value = "auto")]
    pub channels: ChannelsArg,
    /// Part of a CIFAR archive, of MNIST's files or of an npz file
    #[arg(long, value_enum, default_value = "train")]
    pub split: SplitArg,
    /// Import only the images below this folder inside the source
    #[arg(long, value_name = "FOLDER")]
    pub inside: Option<String>,
    /// Import only images whose names match a glob such as `*.jpg`; may be given again
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Leave out images whose names match a glob such as `*.mask.png`; may be given again
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// The field of WebDataset samples (`jpg`, `left.png`), the column of a table or the array of
    /// an npz file that is the image, where there are several
    #[arg(long, value_name = "FIELD")]
    pub image_field: Option<String>,
    /// The label: a field of WebDataset samples (`cls` by default), a key of their JSON field
    /// (`meta.label` for one inside another), a column of a table, of metadata.csv or of
    /// metadata.jsonl (`label` by default), or an array of an npz file
    #[arg(long, value_name = "FIELD")]
    pub label_field: Option<String>,
    /// What of a source is the set, where it holds files of several kinds
    #[arg(long, value_enum)]
    pub read_as: Option<ReadAsArg>,
    /// Range of the numbers in an array of floats
    #[arg(long, value_enum)]
    pub values: Option<ValuesArg>,
    /// Order of the axes of an array, where its shape can be read in several ways
    #[arg(long, value_enum)]
    pub layout: Option<LayoutArg>,
    /// Import the images without their labels
    #[arg(long)]
    pub ignore_labels: bool,
    /// Import at most this many images, from the first on
    #[arg(long, value_name = "N")]
    pub max_images: Option<u64>,
    /// Fail at the first corrupt image instead of skipping it
    #[arg(long)]
    pub strict: bool,
}

impl SourceArgs {
    /// These options as those of [`crate::import`], the others at their defaults.
    pub fn options(&self) -> ImportOptions {
        ImportOptions {
            resolution: self.resolution,
            framing: self.framing.into(),
            channels: self.channels.into(),
            split: self.split.into(),
            inside: self.inside.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            image_field: self.image_field.clone(),
            label_field: self.label_field.clone(),
            read_as: self.read_as.map(ReadAs::from),
            values: self.values.map(Values::from),
            layout: self.layout.map(ArrayLayout::from),
            ignore_labels: self.ignore_labels,
            max_images: self.max_images,
            strict: self.strict,
            ..ImportOptions::default()
        }
    }
}

/// A choice on the command line that mirrors one of the library, whose type knows no command lines.
macro_rules! mirrored {
    ($(#[$doc:meta])* $name:ident of $theirs:path { $($(#[$about:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
        pub enum $name { $($(#[$about])* $variant,)* }
        impl From<$name> for $theirs {
            fn from(arg: $name) -> Self {
                match arg { $($name::$variant => Self::$variant,)* }
            }
        }
    };
}
mirrored! {
    /// What becomes of an image that is not square, as [`Framing`].
    FramingArg of Framing {
        /// Resize to the target; the aspect ratio is not kept
        Scale,
        /// Crop the central square, then resize
        CenterCrop,
        /// Crop the centre to the target's aspect ratio, resize, pad with black to a square
        CenterCropWide,
    }
}
mirrored! {
    /// Which colour channels are kept, as [`Channels`].
    ChannelsArg of Channels {
        /// Those of the first image
        Auto,
        /// One channel, the luma of a colour image
        Grey,
        /// Three channels; a grey image has three equal ones
        Rgb,
    }
}
mirrored! {
    /// Which part of a data set with a fixed division, as [`Split`].
    SplitArg of Split {
        /// The images meant for training
        Train,
        /// The images meant for testing
        Test,
    }
}
mirrored! {
    /// What of a source is the set, as [`ReadAs`].
    ReadAsArg of ReadAs {
        /// The tar files, as WebDataset shards or as classes
        Shards,
        /// The images, wherever they lie below the folder
        Images,
        /// The parquet files
        Tables,
        /// The LMDB database
        Database,
        /// The numpy arrays
        Arrays,
        /// The batches of CIFAR
        Cifar,
        /// MNIST's idx files
        Idx,
    }
}
mirrored! {
    /// Range of floats, as [`Values`].
    ValuesArg of Values {
        /// From 0 (black) to 1 (white)
        Unit,
        /// From -1 (black) to 1 (white)
        Signed,
    }
}
mirrored! {
    /// Order of the axes of an array, as [`ArrayLayout`].
    LayoutArg of ArrayLayout {
        /// Grey images: number, rows, columns
        Nhw,
        /// Number, rows, columns, channels
        Nhwc,
        /// Number, channels, rows, columns
        Nchw,
        /// One image: rows, columns, channels
        Hwc,
        /// One image: channels, rows, columns
        Chw,
    }
}

fn resolution(text: &str) -> Result<(u32, u32), String> {
    let side = |part: &str| {
        part.parse()
            .ok()
            .filter(|side| (1..=4096).contains(side))
            .ok_or_else(|| {
                format!("`{text}`: expected a resolution such as 32 or 32x24, each side 1 to 4096")
            })
    };
    match text.split_once('x') {
        Some((width, height)) => Ok((side(width)?, side(height)?)),
        None => Ok((side(text)?, side(text)?)),
    }
}

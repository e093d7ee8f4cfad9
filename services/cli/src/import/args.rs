//! Options of `cedm import`.

use clap::{Args, ValueEnum};

/// Options of `cedm import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// EDM archive, CIFAR archive, tar file, folder of images, WebDataset shards or numpy array: a
    /// path or an s3:// URI
    pub path: String,
    /// Name by which sweep files refer to this image set
    #[arg(long)]
    pub name: String,
    /// Size in pixels to which images are resized (`32`, or `32x24`). Without it images keep their
    /// size, and all must be squares of one size
    #[arg(long, value_parser = resolution, value_name = "N")]
    pub resolution: Option<(u32, u32)>,
    /// How images are fitted to that size
    #[arg(long, value_enum, default_value = "scale")]
    pub framing: FramingArg,
    /// Colour channels; by default those of the first image
    #[arg(long, value_enum, default_value = "auto")]
    pub channels: ChannelsArg,
    /// Which split of a CIFAR archive to import
    #[arg(long, value_enum, default_value = "train")]
    pub split: SplitArg,
    /// Import only the images below this folder inside the source
    #[arg(long, value_name = "FOLDER")]
    pub inside: Option<String>,
    /// Import the images without their labels
    #[arg(long)]
    pub ignore_labels: bool,
    /// Import at most this many images, from the first on
    #[arg(long, value_name = "N")]
    pub max_images: Option<u64>,
    /// Fail at the first corrupt image instead of skipping it
    #[arg(long)]
    pub strict: bool,
    /// Images per stored shard; every shard is one extraction job
    #[arg(long, default_value_t = 2048, value_name = "N")]
    pub shard_size: u32,
    /// Replace the name's present image set by this one
    #[arg(long)]
    pub replace: bool,
}

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
    /// What becomes of an image that is not square, as [`cedm_images::Framing`].
    FramingArg of cedm_images::Framing {
        /// Resize to the target; the aspect ratio is not kept.
        Scale,
        /// Crop the central square, then resize.
        CenterCrop,
        /// Crop the centre to the target's aspect ratio, resize, pad with black to a square.
        CenterCropWide,
    }
}
mirrored! {
    /// Which colour channels are kept, as [`cedm_images::Channels`].
    ChannelsArg of cedm_images::Channels {
        /// Those of the first image.
        Auto,
        /// One channel, the luma of a colour image.
        Grey,
        /// Three channels; a grey image has three equal ones.
        Rgb,
    }
}
mirrored! {
    /// Which half of a data set with a fixed division, as [`cedm_images::Split`].
    SplitArg of cedm_images::Split {
        /// The images meant for training.
        Train,
        /// The images meant for testing.
        Test,
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

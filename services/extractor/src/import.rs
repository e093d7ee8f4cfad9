//! The `import` command: a data set of any supported format as a folder of shards.

use anyhow::{Context, Result, bail};
use cedm_images::{Channels, Framing, ImportOptions, Progress, Split};
use cedm_runtime::InputPath;
use clap::ValueEnum;
use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

/// Options of an import; other commands accept them too.
#[derive(Debug, Clone, clap::Args)]
pub struct ShapeArgs {
    /// Resize every image to this size: 64, or 128x96 (width x height)
    #[arg(long)]
    resolution: Option<Size>,
    /// How images are cropped before Pillow's Lanczos filter resizes them
    #[arg(long, value_enum, default_value = "scale")]
    framing: FramingArg,
    /// Channels of the result
    #[arg(long, value_enum, default_value = "auto")]
    channels: ChannelsArg,
    /// Part of a CIFAR archive
    #[arg(long, value_enum, default_value = "train")]
    split: SplitArg,
    /// Import only this folder inside the source
    #[arg(long)]
    inside: Option<String>,
    /// Import without labels, even where the source has some
    #[arg(long)]
    ignore_labels: bool,
    /// Import only the first N images
    #[arg(long, value_name = "N")]
    max_images: Option<u64>,
    /// Images per shard of the image set
    #[arg(long, default_value_t = ImportOptions::default().shard_size)]
    shard_size: u32,
    /// Fail at the first corrupt image instead of skipping it
    #[arg(long)]
    strict: bool,
    /// Threads that decode; 0 for all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Converts a data set of any supported format to a folder of shards.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// An EDM archive, an image folder, a CIFAR archive, a tar file (plain, gzip, zstd),
    /// WebDataset shards, an npy or npz file: path or s3:// URI
    source: InputPath,
    /// The folder to create; the same command continues an interrupted import
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    shape: ShapeArgs,
}

impl ImportArgs {
    /// Imports; returns a summary as JSON.
    ///
    /// # Errors
    /// As [`cedm_images::import`].
    pub fn run(&self) -> Result<serde_json::Value> {
        // A download stays beside the result until that is complete, for an interrupted import to
        // continue with.
        let mut fetched = self.out.clone().into_os_string();
        fetched.push(".source");
        let source = self.source.fetch_into(Path::new(&fetched))?;
        let imported = cedm_images::import(&source, &self.shape.options(), &self.out, &mut bar())?;
        if Path::new(&fetched).is_dir() {
            std::fs::remove_dir_all(&fetched)
                .with_context(|| format!("remove {}", Path::new(&fetched).display()))?;
        }
        Ok(serde_json::json!({
            "out": self.out,
            "count": imported.set.count,
            "channels": imported.set.channels,
            "resolution": imported.set.resolution,
            "classes": imported.set.classes,
            "shards": imported.set.shards.len(),
            "content": imported.set.content,
            "skipped": imported.skipped,
            "seconds": imported.seconds,
            "images_per_second": imported.set.count as f64 / imported.seconds.max(1e-9),
        }))
    }
}

impl ShapeArgs {
    /// These options as those of the library.
    pub fn options(&self) -> ImportOptions {
        ImportOptions {
            resolution: self.resolution.map(|Size(width, height)| (width, height)),
            framing: match self.framing {
                FramingArg::Scale => Framing::Scale,
                FramingArg::CenterCrop => Framing::CenterCrop,
                FramingArg::CenterCropWide => Framing::CenterCropWide,
            },
            channels: match self.channels {
                ChannelsArg::Auto => Channels::Auto,
                ChannelsArg::Grey => Channels::Grey,
                ChannelsArg::Rgb => Channels::Rgb,
            },
            split: match self.split {
                SplitArg::Train => Split::Train,
                SplitArg::Test => Split::Test,
            },
            inside: self.inside.clone(),
            ignore_labels: self.ignore_labels,
            max_images: self.max_images,
            shard_size: self.shard_size,
            strict: self.strict,
            threads: self.threads,
            ..ImportOptions::default()
        }
    }
}

/// A progress line on stderr, if that is a terminal.
pub fn bar() -> impl FnMut(Progress) {
    let terminal = std::io::stderr().is_terminal();
    move |progress: Progress| {
        if terminal {
            let Progress {
                done,
                total,
                rate,
                seconds_left,
                ..
            } = progress;
            let end = if done == total { '\n' } else { ' ' };
            let mut err = std::io::stderr().lock();
            // A closed terminal does not end the import.
            let _ = write!(
                err,
                "\r{done}/{total} images, {rate:.0} per second, {seconds_left:.0} s left   {end}"
            );
            let _ = err.flush();
        }
    }
}

/// Width and height, parsed from `64` or `128x96`.
#[derive(Debug, Clone, Copy)]
struct Size(u32, u32);

impl FromStr for Size {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        let (width, height) = text.split_once('x').unwrap_or((text, text));
        match (width.parse(), height.parse()) {
            (Ok(width @ 1..=16384), Ok(height @ 1..=16384)) => Ok(Self(width, height)),
            _ => bail!("`{text}` is not a size: expected 64 or 128x96"),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FramingArg {
    /// No crop; the aspect ratio is not kept
    Scale,
    /// The central square is used
    CenterCrop,
    /// The central part of the wanted aspect ratio, on a black square
    CenterCropWide,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ChannelsArg {
    /// As many as the first image has
    Auto,
    /// One channel, the luma of a colour image
    Grey,
    /// Three channels; a grey image has three equal ones
    Rgb,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SplitArg {
    /// The images meant for training
    Train,
    /// The images meant for testing
    Test,
}

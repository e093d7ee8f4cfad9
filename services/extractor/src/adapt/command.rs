//! The `adapt` command: DINO training on plain files.

use super::adapt;
use crate::{
    import::ShapeArgs,
    inputs::{Images, weights_of},
    output::require_ending,
};
use anyhow::{Context, Result};
use cedm_catalogue::extractors::extractor;
use cedm_contract::{
    ExtractorSpec, Precision,
    kinds::adapt::{DinoParams, VitSize},
};
use cedm_dino::{ImageSource, Training};
use cedm_images::read_shard;
use cedm_runtime::{ConsoleMonitor, InputPath};
use std::{path::PathBuf, time::Instant};

/// Adapts a vision transformer to a data set without labels, or trains a small one from random
/// weights.
#[derive(Debug, clap::Args)]
pub struct AdaptArgs {
    /// Images: any source that `import` accepts (path or s3:// URI), or a folder that it made
    images: InputPath,
    /// The weight file to write (.safetensors), to be loaded by the same extractor
    #[arg(long)]
    out: PathBuf,
    /// The vision transformer to start from; `vit` without --weights is a small one with random
    /// weights
    #[arg(long, default_value = "vit")]
    extractor: String,
    /// Its weight file: path or s3:// URI
    #[arg(long)]
    weights: Option<InputPath>,
    /// Size of the small transformer of --extractor vit: image side, patch side, width, blocks,
    /// heads
    #[arg(
        long,
        value_delimiter = ',',
        value_names = ["IMAGE", "PATCH", "WIDTH", "BLOCKS", "HEADS"],
        num_args = 5,
        default_values_t = [32, 4, 192, 6, 3]
    )]
    fresh: Vec<u32>,
    /// Passes over the images
    #[arg(long, default_value_t = DinoParams::default().epochs)]
    epochs: u32,
    /// Images per optimiser step
    #[arg(long, default_value_t = DinoParams::default().batch)]
    batch: u32,
    /// Small crops of each image, beside two large ones
    #[arg(long, default_value_t = DinoParams::default().local_crops)]
    local_crops: u32,
    /// Side of the small crops in pixels; default: three sevenths of the side that the network
    /// reads, in whole patches
    #[arg(long)]
    local_size: Option<u32>,
    /// Widths of the projection head: hidden, bottleneck, out
    #[arg(
        long,
        value_delimiter = ',',
        value_names = ["HIDDEN", "BOTTLENECK", "OUT"],
        num_args = 3,
        default_values_t = [2048, 256, 65536]
    )]
    head: Vec<u32>,
    /// Peak learning rate for a batch of 256; scaled with the batch. Default: 5e-4, with --weights
    /// 5e-5
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Epochs over which the learning rate rises
    #[arg(long, default_value_t = DinoParams::default().warmup_epochs)]
    warmup_epochs: u32,
    /// Smallest and largest area of the large crops, as shares of the image
    #[arg(
        long,
        value_delimiter = ',',
        value_names = ["SMALLEST", "LARGEST"],
        num_args = 2,
        default_values_t = [0.4, 1.0]
    )]
    global_scale: Vec<f64>,
    /// Smallest and largest area of the small crops
    #[arg(
        long,
        value_delimiter = ',',
        value_names = ["SMALLEST", "LARGEST"],
        num_args = 2,
        default_values_t = [0.05, 0.4]
    )]
    local_scale: Vec<f64>,
    /// Teacher temperature at the start and after its warm-up
    #[arg(
        long,
        value_delimiter = ',',
        value_names = ["START", "WARM"],
        num_args = 2,
        default_values_t = [0.04, 0.07]
    )]
    teacher_temperature: Vec<f64>,
    /// Teacher momentum at the start; 1 at the end
    #[arg(long, default_value_t = DinoParams::default().teacher_momentum)]
    teacher_momentum: f64,
    /// Do not mirror images: for digits and letters
    #[arg(long)]
    no_flip: bool,
    /// Do not change colours
    #[arg(long)]
    no_colour: bool,
    /// Seed of weights, image order and crops
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for checkpoints: Ctrl-C writes one, and the same command continues from it
    #[arg(long)]
    checkpoints: Option<PathBuf>,
    #[command(flatten)]
    shape: ShapeArgs,
}

impl AdaptArgs {
    /// Trains; returns a summary as JSON.
    ///
    /// # Errors
    /// When the images cannot be read, the sizes do not fit, or the file cannot be written.
    pub fn run(&self) -> Result<serde_json::Value> {
        require_ending(&self.out, &["safetensors"])?;
        let compute = cedm_torch::start()?;
        let scratch = tempfile::tempdir().context("create a temporary folder")?;
        let images = self.images(scratch.path())?;
        let (weights, object) = weights_of(self.weights.as_ref())?.unzip();
        let extractor = ExtractorSpec {
            name: self.extractor.clone(),
            weights: object,
            dim: None,
            precision: Precision::Fp32,
        };
        let mut training = Training::new(
            &extractor,
            &self.params(),
            weights.as_deref(),
            images,
            compute.device,
        )
        .with_context(|| match &self.weights {
            Some(file) => format!("start from {file}"),
            None => format!("start a new {}", self.extractor),
        })?;
        let monitor = match &self.checkpoints {
            Some(folder) => ConsoleMonitor::keeping(folder.clone()),
            None => ConsoleMonitor::default(),
        };
        let started = Instant::now();
        let found = adapt(&mut training, scratch.path(), &monitor)?;
        let seconds = started.elapsed().as_secs_f64();
        training.write_backbone(&self.out)?;
        Ok(serde_json::json!({
            "out": self.out,
            "images": training.images(),
            "steps": found.steps,
            "dim": found.dim,
            "loss": found.loss,
            "spread": found.spread,
            "seconds": seconds,
            "images_per_second": found.steps as f64 * f64::from(self.batch) / seconds.max(1e-9),
        }))
    }

    fn params(&self) -> DinoParams {
        let vit = VitSize {
            image: self.fresh[0],
            patch: self.fresh[1],
            dim: self.fresh[2],
            depth: self.fresh[3],
            heads: self.fresh[4],
        };
        let input = extractor(&self.extractor).and_then(|known| known.input);
        let size = DinoParams::side_and_patch(&self.extractor, input, &vit);
        let default = DinoParams::suited_to(size, self.weights.is_some());
        DinoParams {
            vit,
            epochs: self.epochs,
            batch: self.batch,
            local_crops: self.local_crops,
            local_size: self.local_size.unwrap_or(default.local_size),
            global_scale: (self.global_scale[0], self.global_scale[1]),
            local_scale: (self.local_scale[0], self.local_scale[1]),
            head: (self.head[0], self.head[1], self.head[2]),
            learning_rate: self.learning_rate.unwrap_or(default.learning_rate),
            warmup_epochs: self.warmup_epochs,
            teacher_momentum: self.teacher_momentum,
            teacher_temperature: (self.teacher_temperature[0], self.teacher_temperature[1]),
            flip: !self.no_flip,
            colour: !self.no_colour,
            seed: self.seed,
            ..default
        }
    }

    fn images(&self, scratch: &std::path::Path) -> Result<ImageSource> {
        let set = Images::open(&self.images, &self.shape, scratch)?;
        let mut images = ImageSource::default();
        for file in set.files() {
            images.add(read_shard(&file)?)?;
        }
        Ok(images)
    }
}

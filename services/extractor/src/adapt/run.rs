//! `extractor adapt`: DINO training over plain files.

use super::{AdaptParams, AdaptStart, AdaptState, adapt};
use crate::import::{ShapeArgs, bar};
use anyhow::{Context, Result, ensure};
use cedm_contract::{
    Digest, ObjectRef,
    params::{ExtractorSpec, Precision},
};
use cedm_images::{Imported, Picture, read_shard};
use cedm_runtime::ConsoleMonitor;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// Adapts a vision transformer to a data set without labels, or trains a small one from nothing.
#[derive(Debug, clap::Args)]
pub struct AdaptArgs {
    /// Images: whatever `import` takes, or a folder that it made
    images: PathBuf,
    /// The weight file to write (.safetensors): that of the extractor given, else one for the extractor `vit`
    #[arg(long)]
    out: PathBuf,
    /// Start from this extractor of the table; else from nothing
    #[arg(long, requires = "weights")]
    extractor: Option<String>,
    /// Its weight file
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Size of a fresh one: image side, patch, width, blocks, heads
    #[arg(long, value_delimiter = ',', num_args = 5, default_values_t = [32, 4, 192, 6, 3])]
    fresh: Vec<u32>,
    /// Passes over the images
    #[arg(long, default_value_t = AdaptParams::default().epochs)]
    epochs: u32,
    /// Images per step
    #[arg(long, default_value_t = AdaptParams::default().batch)]
    batch: u32,
    /// Small crops beside the two large ones
    #[arg(long, default_value_t = AdaptParams::default().local_crops)]
    local_crops: u32,
    /// Side of the small crops
    #[arg(long, default_value_t = AdaptParams::default().local_size)]
    local_size: u32,
    /// Widths of the head: hidden, bottleneck, out
    #[arg(long, value_delimiter = ',', num_args = 3, default_values_t = [2048, 256, 65536])]
    head: Vec<u32>,
    /// Peak learning rate at a batch of 256
    #[arg(long, default_value_t = AdaptParams::default().learning_rate)]
    learning_rate: f64,
    /// Momentum of the teacher at the start
    #[arg(long, default_value_t = AdaptParams::default().teacher_momentum)]
    teacher_momentum: f64,
    /// Do not mirror: for digits and letters
    #[arg(long)]
    no_flip: bool,
    /// Leave colours as they are
    #[arg(long)]
    no_colour: bool,
    /// Seed of weights, order and crops
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for checkpoints: Ctrl-C writes one, and the same command goes on there
    #[arg(long)]
    checkpoints: Option<PathBuf>,
    #[command(flatten)]
    shape: ShapeArgs,
}

impl AdaptArgs {
    /// Trains; what came of it as JSON.
    ///
    /// # Errors
    /// When the images cannot be read, the sizes do not fit, or the file cannot be written.
    pub fn run(&self) -> Result<serde_json::Value> {
        let named = self.out.extension().is_some_and(|extension| extension == "safetensors");
        ensure!(named, "--out {}: expected a name that ends in .safetensors", self.out.display());
        cedm_torch::start();
        let scratch = tempfile::tempdir().context("make a temporary folder")?;
        let images = self.images(scratch.path())?;
        let params = self.params()?;
        let mut state = AdaptState::start(&params, self.weights.as_deref(), cedm_torch::device())?;
        let monitor = ConsoleMonitor {
            checkpoints: self.checkpoints.clone(),
        };
        let started = Instant::now();
        let found = adapt(&params, &images, &mut state, scratch.path(), &monitor)?;
        let seconds = started.elapsed().as_secs_f64();
        let partial = self.out.with_extension("partial");
        state.write_backbone(&partial)?;
        fs::rename(&partial, &self.out).with_context(|| format!("write {}", self.out.display()))?;
        Ok(serde_json::json!({
            "out": self.out,
            "images": images.len(),
            "steps": found.steps,
            "loss": found.loss,
            "spread": found.spread,
            "seconds": seconds,
            "images_per_second": found.steps as f64 * f64::from(self.batch) / seconds.max(1e-9),
        }))
    }

    fn params(&self) -> Result<AdaptParams> {
        let start = match &self.extractor {
            Some(name) => {
                let path = self.weights.as_deref().context("--weights is missing")?;
                let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
                let weights = ObjectRef {
                    object: path.display().to_string(),
                    size: bytes.len() as u64,
                    digest: Digest::of(&bytes),
                };
                AdaptStart::Published {
                    extractor: ExtractorSpec {
                        name: name.clone(),
                        weights: Some(weights),
                        dim: None,
                        precision: Precision::Fp32,
                    },
                }
            }
            None => AdaptStart::Fresh {
                image: self.fresh[0],
                patch: self.fresh[1],
                dim: self.fresh[2],
                depth: self.fresh[3],
                heads: self.fresh[4],
            },
        };
        Ok(AdaptParams {
            start,
            epochs: self.epochs,
            batch: self.batch,
            local_crops: self.local_crops,
            local_size: self.local_size,
            head: (self.head[0], self.head[1], self.head[2]),
            learning_rate: self.learning_rate,
            teacher_momentum: self.teacher_momentum,
            flip: !self.no_flip,
            colour: !self.no_colour,
            seed: self.seed,
            ..AdaptParams::default()
        })
    }

    fn images(&self, scratch: &Path) -> Result<Vec<Picture>> {
        let record = self.images.join("import.json");
        let (folder, imported): (PathBuf, Imported) = if record.is_file() {
            let bytes = fs::read(&record).with_context(|| format!("read {}", record.display()))?;
            (
                self.images.clone(),
                serde_json::from_slice(&bytes).with_context(|| format!("{} is no import record", record.display()))?,
            )
        } else {
            let folder = scratch.join("images");
            let imported = cedm_images::import(&self.images, &self.shape.options(), &folder, &mut bar())?;
            (folder, imported)
        };
        let mut images = Vec::with_capacity(imported.set.count as usize);
        for shard in &imported.set.shards {
            let shard = read_shard(&folder.join(&shard.object.object))?;
            for at in 0..shard.count {
                let picture = Picture::from_planes(shard.resolution, shard.resolution, shard.channels, shard.image(at))?;
                images.push(picture.into_rgb());
            }
        }
        Ok(images)
    }
}

//! The `run` command: features of a data set on disk in one file.

use crate::{
    extract::{extract_shard, fit_shards, write_features},
    import::ShapeArgs,
    inputs::{Images, weights_of},
    output::{ARRAYS, require_ending},
};
use anyhow::{Context, Result, ensure};
use cedm_contract::{ExtractorSpec, Precision};
use cedm_images::read_shard;
use cedm_nets::{Extracted, Extractor, images_of};
use cedm_runtime::{ConsoleMonitor, InputPath};
use cedm_tensor_files::write_npy;
use clap::ValueEnum;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use tch::{Kind, Tensor};

/// Extracts the features of a data set.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Images: any source that `import` accepts (path or s3:// URI), or a folder that it made
    images: InputPath,
    /// An extractor of the list `cedm extractors`: pixels, pca, cifar_resnet56, dino_vitb16,
    /// dinov2_vitl14, inception_fid, …
    #[arg(long)]
    extractor: String,
    /// The file to write: .safetensors (`features`, `logits` of classifiers, `labels` if known)
    /// or .npy (features alone)
    #[arg(long)]
    out: PathBuf,
    /// Its published weight file (.safetensors, .pth, .pt): path or s3:// URI
    #[arg(long)]
    weights: Option<InputPath>,
    /// The fit of an extractor such as pca from an earlier run; default: fit to these images
    #[arg(long)]
    fit: Option<InputPath>,
    /// Feature width, for extractors where it can be chosen
    #[arg(long)]
    dim: Option<u32>,
    /// Precision of the network
    #[arg(long, value_enum, default_value = "fp32")]
    precision: PrecisionArg,
    /// Images in one pass through the network; changes the last bits of the features
    #[arg(long)]
    batch: Option<i64>,
    #[command(flatten)]
    shape: ShapeArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionArg {
    /// float32, the default of every extractor
    Fp32,
    /// float32 with TF32 products on GPUs that have them
    Tf32,
    /// bfloat16: the range of float32, 8 bits of mantissa
    Bf16,
    /// float16: 11 bits of mantissa, largest number 65,504
    Fp16,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::Fp32 => Precision::Fp32,
            PrecisionArg::Tf32 => Precision::Tf32,
            PrecisionArg::Bf16 => Precision::Bf16,
            PrecisionArg::Fp16 => Precision::Fp16,
        }
    }
}

impl RunArgs {
    /// Extracts; returns a summary as JSON.
    ///
    /// # Errors
    /// When the images cannot be read, the weights do not fit, or the file cannot be written.
    pub fn run(&self) -> Result<serde_json::Value> {
        require_ending(&self.out, ARRAYS)?;
        let compute = cedm_torch::start()?;
        let _guard = tch::no_grad_guard();
        let scratch = tempfile::tempdir().context("create a temporary folder")?;
        let inputs = [&self.images].into_iter().chain(&self.weights);
        InputPath::fetch_all(inputs.chain(&self.fit))?;
        let images = Images::open(&self.images, &self.shape, scratch.path())?;
        let (files, imported) = (images.files(), &images.imported);
        let (weights, object) = weights_of(self.weights.as_ref())?.unzip();
        let spec = ExtractorSpec {
            name: self.extractor.clone(),
            weights: object,
            dim: self.dim,
            precision: self.precision.into(),
        };
        let fit = self.fitted(&spec, &files, imported.set.count, scratch.path())?;
        let mut extractor =
            Extractor::load(&spec, weights.as_deref(), fit.as_deref(), compute.device)?;
        if let Some(batch) = self.batch {
            ensure!(batch > 0, "--batch {batch}: expected at least 1");
            extractor = extractor.with_batch(batch);
        }
        let started = Instant::now();
        let (features, labels) = extract(&extractor, &files, imported.set.count)?;
        let seconds = started.elapsed().as_secs_f64();
        write(&features, labels.as_deref(), &self.out)?;
        Ok(serde_json::json!({
            "out": self.out,
            "extractor": spec.name,
            "device": compute.device_name(),
            "count": features.features.size()[0],
            "dim": features.features.size()[1],
            "logits": features.logits.as_ref().map(|logits| logits.size()[1]),
            "weights": spec.weights.as_ref().map(|weights| &weights.digest),
            "images": imported.set.content,
            "skipped": imported.first_skipped(),
            "skipped_count": imported.skipped.len(),
            "skipped_by_reason": imported.skipped_by_reason(),
            "seconds": seconds,
            "images_per_second": imported.set.count as f64 / seconds.max(1e-9),
        }))
    }

    /// The given fit, or a new one where the extractor needs it.
    fn fitted(
        &self,
        spec: &ExtractorSpec,
        files: &[PathBuf],
        count: u64,
        scratch: &Path,
    ) -> Result<Option<PathBuf>> {
        if self.fit.is_some()
            || !cedm_nets::extractor(&spec.name).is_some_and(|backbone| backbone.row.fitted)
        {
            let fit = self.fit.as_ref().map(InputPath::path).transpose()?;
            return Ok(fit.map(Path::to_owned));
        }
        let out = scratch.join("extractor.safetensors");
        fit_shards(
            spec,
            files.iter().cloned().map(Ok),
            count,
            &out,
            &ConsoleMonitor::default(),
        )?;
        Ok(Some(out))
    }
}

/// Features of all shards, and labels where all images have one.
fn extract(
    extractor: &Extractor,
    files: &[PathBuf],
    total: u64,
) -> Result<(Extracted, Option<Vec<i64>>)> {
    let (mut features, mut logits, mut labels, mut done) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for file in files {
        let shard = read_shard(file)?;
        let part = extract_shard(
            extractor,
            &images_of(&shard),
            done,
            total,
            &ConsoleMonitor::default(),
        )?;
        features.push(part.features);
        logits.extend(part.logits);
        labels.extend(shard.labels.unwrap_or_default());
        done += shard.count as u64;
    }
    // Labels of some shards only would be mistaken for those of the first images.
    let labels = (labels.len() as u64 == total).then_some(labels);
    let logits = (!logits.is_empty()).then(|| Tensor::cat(&logits, 0));
    Ok((
        Extracted {
            features: Tensor::cat(&features, 0),
            logits,
        },
        labels,
    ))
}

/// Writes beside `out` first: a file that exists is complete.
fn write(features: &Extracted, labels: Option<&[i64]>, out: &Path) -> Result<()> {
    if out.extension().is_none_or(|extension| extension != "npy") {
        return Ok(write_features(features, labels, out)?);
    }
    let (rows, width) = features
        .features
        .size2()
        .context("features have two axes")?;
    let values = features.features.to_kind(Kind::Float).contiguous();
    let values = Vec::<f32>::try_from(values.view([-1])).context("read the features")?;
    write_npy(out, &[rows as usize, width as usize], &values)
        .with_context(|| format!("write {}", out.display()))
}

//! Features of image shards, and the fit of extractors that learn from them.

use anyhow::{Context, Result, ensure};
use cedm_contract::ExtractorSpec;
use cedm_images::Shard;
use cedm_nets::{Extractor, Features, PcaFit};
use cedm_runtime::{JobError, Monitor};
use std::path::Path;
use tch::Tensor;

/// Images between two checks for a stop; a multiple of the batch of a network, since a part of a
/// batch costs as much as a whole one.
const STRIDE: i64 = 128;

/// The images of a shard as uint8 \[n, channels, side, side\].
pub fn images_of(shard: &Shard) -> Tensor {
    let (count, channels, side) = (
        shard.count as i64,
        shard.channels as i64,
        shard.resolution as i64,
    );
    Tensor::from_slice(&shard.images).view([count, channels, side, side])
}

/// Features of uint8 images \[n, c, h, w\]. Progress counts from the `done` images that came before
/// them, out of `total`.
///
/// # Errors
/// `Reject` when the extractor cannot take the images or its features are not finite, `Drained`
/// when the process is stopping.
pub fn extract_shard(
    extractor: &Extractor,
    images: &Tensor,
    done: u64,
    total: u64,
    monitor: &dyn Monitor,
) -> Result<Features, JobError> {
    let count = images.size()[0];
    let (mut features, mut logits) = (Vec::new(), Vec::new());
    for from in (0..count).step_by(STRIDE as usize) {
        if monitor.stopping() {
            return Err(JobError::Drained);
        }
        let rows = STRIDE.min(count - from);
        let part = extractor.extract(&images.narrow(0, from, rows))?;
        features.push(part.features);
        logits.extend(part.logits);
        monitor.count(&crate::metrics::EXTRACTED, rows as u64);
        monitor.progress(done + (from + rows) as u64, total, "images");
    }
    let features = Features {
        features: Tensor::cat(&features, 0),
        logits: (!logits.is_empty()).then(|| Tensor::cat(&logits, 0)),
    };
    // float16 overflows in some networks; better no features than wrong clusters later.
    if !bool::try_from(features.features.isfinite().all()).unwrap_or(false) {
        let name = extractor.backbone().row.name;
        return Err(JobError::reject(anyhow::anyhow!(
            "features of extractor `{name}` are not finite: try precision fp32"
        )));
    }
    Ok(features)
}

/// Fits the extractor to the shards in `files` and writes the fit to `out`; returns the feature
/// width.
///
/// # Errors
/// `Reject` when this kind of extractor is not fitted or a shard cannot be read, `Drained` when the
/// process is stopping.
pub fn fit_shards(
    spec: &ExtractorSpec,
    files: impl Iterator<Item = Result<std::path::PathBuf, JobError>>,
    total: u64,
    out: &Path,
    monitor: &dyn Monitor,
) -> Result<u32, JobError> {
    let fitted = cedm_nets::extractor(&spec.name).is_some_and(|backbone| backbone.row.fitted);
    if !fitted {
        return Err(JobError::reject(anyhow::anyhow!(
            "extractor `{}` is not fitted to images",
            spec.name
        )));
    }
    let (mut fit, mut done) = (PcaFit::default(), 0);
    for file in files {
        if monitor.stopping() {
            return Err(JobError::Drained);
        }
        // One shard in memory at a time.
        let shard = cedm_images::read_shard(&file?)?;
        fit.add(&images_of(&shard))?;
        done += shard.count as u64;
        monitor.progress(done, total, "images");
    }
    let pca = fit.finish(spec.dim)?;
    pca.write(out).map_err(JobError::retry)?;
    Ok(pca.dim() as u32)
}

/// Writes safetensors with `features` f32 \[n, dim\] and, for classifiers, `logits` f32 \[n,
/// classes\].
///
/// # Errors
/// When the file cannot be written.
pub fn write_features(features: &Features, out: &Path) -> Result<()> {
    let mut tensors = vec![("features", features.features.shallow_clone())];
    tensors.extend(
        features
            .logits
            .as_ref()
            .map(|logits| ("logits", logits.shallow_clone())),
    );
    Tensor::write_safetensors(&tensors, out).with_context(|| format!("write {}", out.display()))
}

/// Reads the tensor `features` \[n, dim\] that [`write_features`] wrote.
///
/// # Errors
/// When the file cannot be read, or lacks such a tensor.
pub fn read_features(file: &Path) -> Result<Tensor> {
    let tensors =
        Tensor::read_safetensors(file).with_context(|| format!("read {}", file.display()))?;
    let found = tensors
        .into_iter()
        .find(|(name, _)| name == "features")
        .map(|(_, tensor)| tensor);
    let features = found.with_context(|| format!("{} has no tensor `features`", file.display()))?;
    ensure!(
        features.dim() == 2,
        "{}: `features` has shape {:?}, expected [n, dim]",
        file.display(),
        features.size()
    );
    Ok(features)
}

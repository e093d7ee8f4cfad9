//! Features of image shards, and the fit of extractors that learn from them.

use cedm_contract::{
    ExtractorSpec,
    kinds::{
        extract::features::{FEATURES, LOGITS},
        import::shard::LABELS,
    },
};
use cedm_nets::{Extracted, Extractor, PcaFit, images_of};
use cedm_runtime::{JobError, Monitor};
use cedm_tensor_files::{TensorFile, TensorFileError};
use cedm_torch::tensor_files;
use std::path::Path;
use tch::Tensor;

/// Images between two checks for a stop; a multiple of the batch of a network, since a part of a
/// batch costs as much as a whole one.
const STRIDE: i64 = 128;

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
) -> Result<Extracted, JobError> {
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
    let features = Extracted {
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
    pca.write(out)?;
    Ok(pca.dim() as u32)
}

/// Writes `features` f32 \[n, dim\], `logits` f32 \[n, classes\] of extractors that classify, and
/// `labels` i64 \[n\] where they are given.
///
/// # Errors
/// When the file cannot be written.
pub fn write_features(
    features: &Extracted,
    labels: Option<&[i64]>,
    out: &Path,
) -> Result<(), TensorFileError> {
    let mut tensors = vec![(FEATURES, features.features.shallow_clone())];
    tensors.extend(labels.map(|labels| (LABELS, Tensor::from_slice(labels))));
    let logits = features.logits.as_ref();
    tensors.extend(logits.map(|logits| (LOGITS, logits.shallow_clone())));
    tensor_files::write(out, &tensors, &[])
}

/// Reads the tensor `features` \[n, dim\] that [`write_features`] wrote.
///
/// # Errors
/// When the file cannot be read or holds no such matrix.
pub fn read_features(path: &Path) -> Result<Tensor, TensorFileError> {
    let file = TensorFile::open(path)?;
    let features = tensor_files::tensor(&file, FEATURES.name)?;
    if features.dim() != 2 {
        return Err(file.unexpected(FEATURES.name, "[n, dim]"));
    }
    Ok(features)
}

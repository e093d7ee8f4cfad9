//! What a job reads: features, neighbours, labels, imported ids.

use crate::read::read_ids;
use anyhow::anyhow;
use cedm_clustering::Features;
use cedm_contract::{FeatureSet, ImageSet, JobResult, Manifest, ObjectRef};
use cedm_runtime::{Desk, JobError};
use std::path::Path;
use tch::{Kind, Tensor};

const NEIGHBOURS: &str = "neighbours.safetensors";

/// All features of the input `features`, on the device of this process.
pub(crate) fn features(desk: &Desk) -> Result<Features, JobError> {
    let set = feature_set(desk.input("features")?)?;
    let mut pieces = Vec::with_capacity(set.shards.len());
    for shard in &set.shards {
        let piece = tensor(&desk.fetch(&shard.object)?, "features")?;
        if piece.size() != [shard.count as i64, i64::from(set.dim)] {
            let found = piece.size();
            return Err(JobError::reject(anyhow!(
                "feature shard at row {} has shape {found:?}, expected [{}, {}]",
                shard.first,
                shard.count,
                set.dim
            )));
        }
        pieces.push(piece);
    }
    if pieces.is_empty() {
        return Err(JobError::reject(anyhow!("the feature set has no shards")));
    }
    let whole = Features::new(&Tensor::cat(&pieces, 0)).map_err(JobError::reject)?;
    drop(pieces);
    Ok(whole.to_device(cedm_torch::device()))
}

/// Images that the job is about: rows of its features, else images of its image set.
pub(crate) fn count(desk: &Desk) -> Result<u64, JobError> {
    match desk.optional("features") {
        Some(features) => Ok(feature_set(features)?.count),
        None => Ok(image_set(desk.input("images")?)?.count),
    }
}

/// Neighbours i32 \[n, k\], if the job has that input.
pub(crate) fn neighbours(desk: &Desk) -> Result<Option<Tensor>, JobError> {
    let Some(manifest) = desk.optional("neighbours") else {
        return Ok(None);
    };
    Ok(Some(tensor(&desk.fetch_output(manifest, NEIGHBOURS)?, "indices")?))
}

/// Labels of the input `images`, −1 where an image has none; `None` where the job has no images or they have no labels.
pub(crate) fn labels(desk: &Desk, coarse: bool) -> Result<Option<Vec<i64>>, JobError> {
    let Some(manifest) = desk.optional("images") else { return Ok(None) };
    let set = image_set(manifest)?;
    if (if coarse { set.coarse_classes } else { set.classes }) == 0 {
        return Ok(None);
    }
    let name = if coarse { "coarse_labels" } else { "labels" };
    let mut labels = Vec::with_capacity(set.count as usize);
    for shard in &set.shards {
        let piece = tensor(&desk.fetch(&shard.object)?, name)?;
        labels.extend(Vec::<i64>::try_from(piece.to_kind(Kind::Int64).view(-1)).map_err(JobError::reject)?);
    }
    Ok(Some(labels))
}

/// Imported ids, one for each image of the job.
pub(crate) fn imported(desk: &Desk, object: &ObjectRef) -> Result<Vec<i64>, JobError> {
    let ids = read_ids(&desk.fetch(object)?).map_err(JobError::reject)?;
    let count = count(desk)?;
    if ids.len() as u64 == count {
        Ok(ids)
    } else {
        Err(JobError::reject(anyhow!(
            "the file holds {} ids, the set {count} images",
            ids.len()
        )))
    }
}

fn feature_set(manifest: &Manifest) -> Result<&FeatureSet, JobError> {
    match &manifest.result {
        JobResult::Features(set) => Ok(set),
        _ => Err(JobError::reject(anyhow!(
            "the features come from a {} job, expected features",
            manifest.kind()
        ))),
    }
}

fn image_set(manifest: &Manifest) -> Result<&ImageSet, JobError> {
    match &manifest.result {
        JobResult::Import(set) => Ok(set),
        _ => Err(JobError::reject(anyhow!(
            "the images come from a {} job, expected import",
            manifest.kind()
        ))),
    }
}

/// One tensor of a safetensors file.
fn tensor(file: &Path, name: &str) -> Result<Tensor, JobError> {
    let tensors = Tensor::read_safetensors(file).map_err(|error| JobError::reject(anyhow!("input file with `{name}`: {error}")))?;
    let found = tensors.into_iter().find(|(found, _)| found == name);
    found
        .map(|(_, tensor)| tensor)
        .ok_or_else(|| JobError::reject(anyhow!("input file: tensor `{name}` is missing")))
}

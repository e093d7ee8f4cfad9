//! The inputs of a job: features, neighbours, labels, imported ids.

use crate::{FeatureFiles, read::read_ids};
use anyhow::anyhow;
use cedm_clustering::kmeans::RowSource;
use cedm_contract::{
    Manifest, ObjectRef, ShardRef,
    kinds::{
        extract::features::FEATURES,
        features::{FeatureSet, FeaturesParams},
        import::{
            ImageSet, ImportParams,
            shard::{COARSE_LABELS, LABELS},
        },
        neighbours::{NEIGHBOURS, neighbour_lists::INDICES},
    },
};
use cedm_maths::Features;
use cedm_nets::NetError;
use cedm_runtime::{JobContext, JobError};
use cedm_torch::tensor_files;
use std::{io, ops::Range, path::Path};
use tch::{Device, Kind, Tensor};

/// All features of a `features` job, on `device`.
pub(crate) fn features(
    context: &JobContext,
    features: &Manifest,
    device: Device,
) -> Result<Features, JobError> {
    let set = feature_set(features)?;
    let mut pieces = Vec::with_capacity(set.shards.len());
    for shard in &set.shards {
        let piece = feature_shard(context, set, shard)?;
        if let Some(first) = pieces
            .first()
            .map(Tensor::kind)
            .filter(|kind| *kind != piece.kind())
        {
            let found = piece.kind();
            return Err(JobError::reject(anyhow!(
                "feature shard at row {} has type {found:?}, the first shard has {first:?}: \
                 expected one type",
                shard.first
            )));
        }
        pieces.push(piece);
    }
    if pieces.is_empty() {
        return Err(JobError::reject(anyhow!("the feature set has no shards")));
    }
    let whole = Features::new("features", &Tensor::cat(&pieces, 0))?;
    // Before the copy to the device: else the features would be in memory twice.
    drop(pieces);
    Ok(whole.to_device(device))
}

/// The same features left on disk, for computations that read a few rows at a time to `device`.
pub(crate) fn feature_files(
    context: &JobContext,
    features: &Manifest,
    device: Device,
) -> Result<FeatureFiles, JobError> {
    let set = feature_set(features)?;
    let paths = set
        .shards
        .iter()
        .map(|shard| context.fetch(&shard.object))
        .collect::<Result<Vec<_>, _>>()?;
    let files = FeatureFiles::open(&paths, Some(FEATURES.name), device)?;
    let (found, expected) = (
        (files.count(), files.width()),
        (set.count as i64, i64::from(set.dim)),
    );
    if found != expected {
        return Err(JobError::reject(anyhow!(
            "the feature shards hold {found:?} rows and columns, expected {expected:?}"
        )));
    }
    Ok(files)
}

/// Rows `rows` of the features of a `features` job, on `device`: only the shards that hold them are
/// fetched, one at a time.
pub(crate) fn feature_rows(
    context: &JobContext,
    features: &Manifest,
    rows: Range<i64>,
    device: Device,
) -> Result<Features, JobError> {
    let set = feature_set(features)?;
    let mut pieces = Vec::new();
    for shard in &set.shards {
        let (first, end) = (shard.first as i64, (shard.first + shard.count) as i64);
        let (from, to) = (rows.start.max(first), rows.end.min(end));
        if from < to {
            pieces.push(feature_shard(context, set, shard)?.narrow(0, from - first, to - from));
        }
    }
    let found: i64 = pieces.iter().map(|piece| piece.size()[0]).sum();
    if found != rows.end - rows.start {
        return Err(JobError::reject(anyhow!(
            "the feature set holds {found} of the rows {rows:?}"
        )));
    }
    let block = Features::new("features", &Tensor::cat(&pieces, 0))?;
    Ok(block.to_device(device))
}

/// One shard, after a check that it has the shape that the set states.
fn feature_shard(
    context: &JobContext,
    set: &FeatureSet,
    shard: &ShardRef,
) -> Result<Tensor, JobError> {
    let piece = tensor(&context.fetch(&shard.object)?, FEATURES.name)?;
    if piece.size() == [shard.count as i64, i64::from(set.dim)] {
        return Ok(piece);
    }
    Err(JobError::reject(anyhow!(
        "feature shard at row {} has shape {:?}, expected [{}, {}]",
        shard.first,
        piece.size(),
        shard.count,
        set.dim
    )))
}

/// The neighbours that a `neighbours` job found, i32 \[n, k\].
pub(crate) fn neighbours(context: &JobContext, neighbours: &Manifest) -> Result<Tensor, JobError> {
    let file = context.fetch_output(neighbours, NEIGHBOURS)?;
    tensor(&file, INDICES.name)
}

/// Labels of an imported image set, −1 where an image has none; `None` if the set has no labels.
pub(crate) fn labels(
    context: &JobContext,
    images: &Manifest,
    coarse: bool,
) -> Result<Option<Vec<i64>>, JobError> {
    let set = image_set(images)?;
    if (if coarse {
        set.coarse_classes
    } else {
        set.classes
    }) == 0
    {
        return Ok(None);
    }
    let name = if coarse { COARSE_LABELS } else { LABELS };
    let mut labels = Vec::with_capacity(set.count as usize);
    for shard in &set.shards {
        let piece = tensor(&context.fetch(&shard.object)?, name.name)?;
        labels.extend(
            Vec::<i64>::try_from(piece.to_kind(Kind::Int64).view(-1)).map_err(JobError::bug)?,
        );
    }
    Ok(Some(labels))
}

/// The ids in an imported file, one for each image of the set.
pub(crate) fn imported(
    context: &JobContext,
    images: &Manifest,
    object: &ObjectRef,
) -> Result<Vec<i64>, JobError> {
    let ids = read_ids(&context.fetch(object)?).map_err(unreadable)?;
    let count = image_set(images)?.count;
    if ids.len() as u64 == count {
        Ok(ids)
    } else {
        Err(JobError::reject(anyhow!(
            "the file has {} ids, expected one for each of the {count} images",
            ids.len()
        )))
    }
}

/// What an imported file that was not read means for the job. Decoders report damaged content as
/// I/O errors too: only errors with a code of the operating system are those of the disk.
fn unreadable(error: anyhow::Error) -> JobError {
    let is_disk = error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.raw_os_error().is_some())
    });
    if is_disk {
        return JobError::retry(error);
    }
    error
        .downcast::<NetError>()
        .map_or_else(JobError::reject, JobError::from)
}

/// The result of a `features` job.
pub(crate) fn feature_set(manifest: &Manifest) -> Result<&FeatureSet, JobError> {
    let (_, set) = manifest
        .as_kind::<FeaturesParams>()
        .map_err(JobError::contract)?;
    Ok(set)
}

/// The result of an `import` job.
fn image_set(manifest: &Manifest) -> Result<&ImageSet, JobError> {
    let (_, set) = manifest
        .as_kind::<ImportParams>()
        .map_err(JobError::contract)?;
    Ok(set)
}

/// One tensor of a tensor file.
pub(crate) fn tensor(file: &Path, name: &str) -> Result<Tensor, JobError> {
    Ok(tensor_files::read_one(file, name)?)
}

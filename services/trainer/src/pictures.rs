//! Training images as one tensor in memory, from shards of an image set or from a data set on disk.

use anyhow::{Context, bail, ensure};
use cedm_images::{ImportOptions, Shard};
use std::path::Path;
use tch::{Kind, Tensor};

/// All images of a set, in memory.
#[derive(Debug)]
pub struct Pictures {
    /// Pixels u8 \[n, c, r, r\] on the CPU.
    pub images: Tensor,
    /// Label of every image; `None` if some shard has no labels.
    pub labels: Option<Vec<i64>>,
    /// Coarse label of every image; likewise.
    pub coarse_labels: Option<Vec<i64>>,
}

impl Pictures {
    /// Joins shards in order.
    ///
    /// # Errors
    /// If there are no shards, or their images differ in shape.
    pub fn join(shards: Vec<Shard>) -> anyhow::Result<Self> {
        let (channels, side) = shards
            .first()
            .map(|shard| (shard.channels, shard.resolution))
            .context("the image set is empty")?;
        let mut parts = Vec::new();
        for (index, shard) in shards.iter().enumerate() {
            ensure!(
                (shard.channels, shard.resolution) == (channels, side),
                "shard {index} holds {}×{0} images of {} channels, the ones before it \
                 {side}×{side} of {channels}",
                shard.resolution,
                shard.channels
            );
            let shape = [
                shard.count as i64,
                channels as i64,
                side as i64,
                side as i64,
            ];
            parts.push(Tensor::from_data_size(&shard.images, &shape, Kind::Uint8));
        }
        let gather = |of: fn(&Shard) -> Option<&Vec<i64>>| {
            shards
                .iter()
                .map(of)
                .collect::<Option<Vec<_>>>()
                .map(|all| all.into_iter().flatten().copied().collect())
        };
        Ok(Self {
            images: Tensor::cat(&parts, 0),
            labels: gather(|s| s.labels.as_ref()),
            coarse_labels: gather(|s| s.coarse_labels.as_ref()),
        })
    }

    /// Reads a data set: a shard (safetensors with `images` u8 \[n, c, r, r\]), or any format that
    /// can be imported, such as EDM's archives.
    ///
    /// # Errors
    /// If it cannot be read, holds no image, or its images differ in shape.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            let shard = cedm_images::read_shard(path)?;
            let Shard {
                count, resolution, ..
            } = shard;
            ensure!(
                count > 0 && resolution > 0,
                "{}: {count} images of {resolution}x{resolution} pixels, expected at least one of \
                 each",
                path.display()
            );
            return Self::join(vec![shard]);
        }
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let options = ImportOptions {
            strict: true,
            ..ImportOptions::default()
        };
        let imported = cedm_images::import(path, &options, folder.path(), &mut |_| ())
            .with_context(|| format!("read {}", path.display()))?;
        for line in imported.lines() {
            cedm_terminal::errln!("{line}");
        }
        if imported.set.count == 0 {
            bail!("{} holds no images", path.display());
        }
        let shards = imported
            .set
            .shards
            .iter()
            .map(|shard| cedm_images::read_shard(&folder.path().join(&shard.object.object)));
        Self::join(shards.collect::<Result<_, _>>()?)
    }

    /// Number of images, their channels, and their height and width in pixels.
    pub fn shape(&self) -> (i64, i64, i64) {
        let size = self.images.size();
        (size[0], size[1], size[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_with_images_of_different_shapes_are_rejected() {
        let shard = |channels, resolution| Shard {
            count: 2,
            channels,
            resolution,
            images: vec![7; 2 * channels * resolution * resolution],
            ..Shard::default()
        };
        assert_eq!(
            Pictures::join(vec![shard(3, 4), shard(3, 4)])
                .unwrap()
                .shape(),
            (4, 3, 4)
        );
        let error = Pictures::join(vec![shard(3, 4), shard(1, 4)])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "shard 1 holds 4×4 images of 1 channels, the ones before it 4×4 of 3"
        );
        assert_eq!(
            Pictures::join(vec![]).unwrap_err().to_string(),
            "the image set is empty"
        );
    }
}

//! Shards: safetensors files of uint8 images with their labels and digests.

use crate::ImageError;
use cedm_contract::{
    Digest, ObjectRef,
    kinds::import::shard::{COARSE_LABELS, DIGESTS, IMAGES, LABELS},
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{fs::File, io::Read, path::Path};

/// One shard in memory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Shard {
    /// Images.
    pub count: usize,
    /// 1 or 3.
    pub channels: usize,
    /// Side in pixels.
    pub resolution: usize,
    /// `count` × `channels` × `resolution` × `resolution` bytes.
    pub images: Vec<u8>,
    /// One label for each image; −1 stands for none.
    pub labels: Option<Vec<i64>>,
    /// Coarse labels.
    pub coarse_labels: Option<Vec<i64>>,
    /// [`image_digest`] of each image, 32 bytes each; empty in shards of generated images.
    pub digests: Vec<u8>,
}

impl Shard {
    /// Bytes of one image.
    pub fn image_bytes(&self) -> usize {
        self.channels * self.resolution * self.resolution
    }
    /// Planes of one image.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.images[index * self.image_bytes()..(index + 1) * self.image_bytes()]
    }
}

/// Digest of one image: BLAKE3 over channels, height and width (u32, little-endian) and the planes.
pub fn image_digest(channels: u32, resolution: u32, planes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for size in [channels, resolution, resolution] {
        hasher.update(&size.to_le_bytes());
    }
    *hasher.update(planes).finalize().as_bytes()
}

/// Reads a shard file.
///
/// # Errors
/// When it cannot be read or is no such file.
pub fn read_shard(path: &Path) -> Result<Shard, ImageError> {
    let bytes = std::fs::read(path).map_err(ImageError::io("read", path))?;
    parse(&bytes).map_err(|reason| ImageError::format(path, reason))
}

/// Reads a shard from the bytes of its file.
///
/// # Errors
/// When they are no such file.
pub fn read_shard_bytes(bytes: &[u8]) -> Result<Shard, ImageError> {
    parse(bytes).map_err(|reason| ImageError::format("shard", reason))
}

fn parse(bytes: &[u8]) -> Result<Shard, String> {
    let file =
        SafeTensors::deserialize(bytes).map_err(|error| format!("no safetensors file: {error}"))?;
    let images = file
        .tensor(IMAGES.name)
        .map_err(|_| "tensor `images` is missing".to_owned())?;
    let [count, channels, height, width] = images.shape()[..] else {
        return Err(format!(
            "`images` has shape {:?}, expected [n, channels, side, side]",
            images.shape()
        ));
    };
    if images.dtype() != Dtype::U8 || !matches!(channels, 1 | 3) || height != width {
        return Err(format!(
            "`images` is {:?} {:?}, expected uint8 [n, 1 or 3, side, side]",
            images.dtype(),
            images.shape()
        ));
    }
    let integers = |name: &str| -> Result<Option<Vec<i64>>, String> {
        let Ok(view) = file.tensor(name) else {
            return Ok(None);
        };
        if view.dtype() != Dtype::I64 || view.shape() != [count] {
            return Err(format!(
                "`{name}` is {:?} {:?}, expected int64 [{count}]",
                view.dtype(),
                view.shape()
            ));
        }
        let number = |bytes: &[u8]| {
            i64::from_le_bytes(bytes.try_into().expect("invariant: chunks of eight"))
        };
        Ok(Some(view.data().chunks_exact(8).map(number).collect()))
    };
    let digests = file
        .tensor("digests")
        .ok()
        .filter(|view| view.shape() == [count, 32])
        .map(|view| view.data().to_vec());
    Ok(Shard {
        count,
        channels,
        resolution: height,
        images: images.data().to_vec(),
        labels: integers(LABELS.name)?,
        coarse_labels: integers(COARSE_LABELS.name)?,
        digests: digests.unwrap_or_default(),
    })
}

/// Writes a shard file; its name, size and digest.
pub(crate) fn write_shard(
    folder: &Path,
    name: &str,
    shard: &Shard,
) -> Result<ObjectRef, ImageError> {
    let path = folder.join(name);
    let bytes_of = |labels: &[i64]| {
        labels
            .iter()
            .flat_map(|label| label.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let (labels, coarse) = (
        shard.labels.as_deref().map(bytes_of),
        shard.coarse_labels.as_deref().map(bytes_of),
    );
    let view = |dtype, shape: Vec<usize>, bytes| {
        TensorView::new(dtype, shape, bytes)
            .map_err(|error| ImageError::format(&path, error.to_string()))
    };
    let mut tensors = vec![
        (
            IMAGES.name,
            view(
                Dtype::U8,
                vec![
                    shard.count,
                    shard.channels,
                    shard.resolution,
                    shard.resolution,
                ],
                &shard.images,
            )?,
        ),
        (
            DIGESTS.name,
            view(Dtype::U8, vec![shard.count, 32], &shard.digests)?,
        ),
    ];
    if let Some(labels) = &labels {
        tensors.push((LABELS.name, view(Dtype::I64, vec![shard.count], labels)?));
    }
    if let Some(coarse) = &coarse {
        tensors.push((
            COARSE_LABELS.name,
            view(Dtype::I64, vec![shard.count], coarse)?,
        ));
    }
    safetensors::serialize_to_file(tensors, None, &path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => ImageError::io("write", &path)(source),
        other => ImageError::format(&path, other.to_string()),
    })?;
    let (size, digest) = file_digest(&path)?;
    Ok(ObjectRef {
        object: name.to_owned(),
        size,
        digest,
    })
}

/// Size and BLAKE3 of a file.
///
/// # Errors
/// When it cannot be read.
pub fn file_digest(path: &Path) -> Result<(u64, Digest), ImageError> {
    let mut file = File::open(path).map_err(ImageError::io("read", path))?;
    let (mut hasher, mut buffer, mut size) = (blake3::Hasher::new(), vec![0; 1 << 20], 0);
    loop {
        let count = file
            .read(&mut buffer)
            .map_err(ImageError::io("read", path))?;
        if count == 0 {
            return Ok((size, Digest::finish(&hasher)));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let images: Vec<u8> = (0..2 * 3 * 4).map(|v| v as u8).collect();
        let shard = Shard {
            count: 2,
            channels: 3,
            resolution: 2,
            digests: images
                .chunks_exact(12)
                .flat_map(|planes| image_digest(3, 2, planes))
                .collect(),
            images,
            labels: Some(vec![4, -1]),
            coarse_labels: None,
        };
        let object = write_shard(folder.path(), "a.safetensors", &shard).unwrap();
        assert_eq!(
            read_shard(&folder.path().join("a.safetensors")).unwrap(),
            shard
        );
        assert_eq!(
            object.size,
            std::fs::metadata(folder.path().join("a.safetensors"))
                .unwrap()
                .len()
        );
        assert_ne!(shard.digests[..32], shard.digests[32..]);
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b""[..], b"hello, world, how are you?"] {
            assert!(read_shard_bytes(bytes).is_err());
        }
        let view = TensorView::new(Dtype::U8, vec![2, 2], &[1, 2, 3, 4]).unwrap();
        let bytes = safetensors::serialize([("images", view)], None).unwrap();
        assert!(
            read_shard_bytes(&bytes)
                .unwrap_err()
                .to_string()
                .contains("expected [n, channels, side, side]")
        );
    }
}

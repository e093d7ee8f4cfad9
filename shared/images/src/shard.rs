//! Shards: tensor files of uint8 images with their labels and digests.

use crate::ImageError;
use cedm_contract::{
    Digest, ObjectRef,
    kinds::import::shard::{COARSE_LABELS, DIGESTS, IMAGES, LABELS},
};
use cedm_tensor_files::{Data, Dtype, TensorFile, open_file, write};
use std::path::Path;

/// One shard in memory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Shard {
    /// Number of images in the shard.
    pub count: usize,
    /// Channels of every image: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Side of the square images in pixels.
    pub resolution: usize,
    /// `count` × `channels` × `resolution` × `resolution` bytes.
    pub images: Vec<u8>,
    /// One label for each image; −1 stands for none.
    pub labels: Option<Vec<i64>>,
    /// One coarse label for each image, where the set has them.
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
/// [`ImageError::TensorFile`] when it cannot be read or is not a shard.
pub fn read_shard(path: &Path) -> Result<Shard, ImageError> {
    parse(&TensorFile::open(path)?)
}

fn parse(file: &TensorFile<'_>) -> Result<Shard, ImageError> {
    let images = file.require(IMAGES.name)?;
    let (count, channels, resolution) = match (images.dtype, images.shape) {
        (Dtype::U8, &[count, channels @ (1 | 3), height, width]) if height == width => {
            (count, channels, height)
        }
        _ => {
            return Err(file
                .unexpected(IMAGES.name, "U8 [n, 1 or 3, side, side]")
                .into());
        }
    };
    let labels = |name: &str| match file.entry(name) {
        Some(entry) if entry.shape != [count] => {
            Err(file.unexpected(name, format!("I64 [{count}]")))
        }
        _ => file.optional::<i64>(name),
    };
    let digests = match file.entry(DIGESTS.name) {
        Some(entry) if entry.shape == [count, 32] => file.bytes(DIGESTS.name)?.into_owned(),
        _ => Vec::new(),
    };
    Ok(Shard {
        count,
        channels,
        resolution,
        images: file.bytes(IMAGES.name)?.into_owned(),
        labels: labels(LABELS.name)?,
        coarse_labels: labels(COARSE_LABELS.name)?,
        digests,
    })
}

/// Writes a shard file; its name, size and digest.
pub(crate) fn write_shard(
    folder: &Path,
    name: &str,
    shard: &Shard,
) -> Result<ObjectRef, ImageError> {
    let path = folder.join(name);
    let (count, side) = (shard.count, shard.resolution);
    let mut tensors = vec![
        (
            IMAGES.name,
            Data::of_bytes(&[count, shard.channels, side, side], &shard.images),
        ),
        (DIGESTS.name, Data::of_bytes(&[count, 32], &shard.digests)),
    ];
    let labels = [
        (LABELS.name, &shard.labels),
        (COARSE_LABELS.name, &shard.coarse_labels),
    ];
    for (name, labels) in labels {
        tensors.extend(labels.iter().map(|ids| (name, Data::of(&[count], ids))));
    }
    write(&path, &tensors, &[])?;
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
    open_file(path)
        .and_then(Digest::of_reader)
        .map_err(ImageError::io("read", path))
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
        let folder = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            let path = folder.path().join("shard.safetensors");
            std::fs::write(&path, bytes).unwrap();
            read_shard(&path)
        };
        for bytes in [&b""[..], b"hello, world, how are you?"] {
            assert!(read(bytes).is_err());
        }
        let images = Data::of_bytes(&[2, 2], &[1, 2, 3, 4]);
        let bytes = cedm_tensor_files::encode("shard", &[("images", images)], &[]).unwrap();
        assert!(
            read(&bytes)
                .unwrap_err()
                .to_string()
                .ends_with("tensor `images` is U8 [2, 2], expected U8 [n, 1 or 3, side, side]")
        );
    }
}

//! The images of a set in memory, as the bytes of their shards.

use cedm_fault::FileError;
use cedm_images::{ImageError, Picture, Shard};

/// All images of a training set by index: shards of uint8 pixels, one after the other.
#[derive(Debug, Default)]
pub struct ImageSource {
    shards: Vec<Shard>,
    /// Index of the first image of each shard.
    firsts: Vec<usize>,
    count: usize,
}

impl ImageSource {
    /// Appends the next shard of the set.
    ///
    /// # Errors
    /// When its images have another number of channels or another side than those before.
    pub fn add(&mut self, shard: Shard) -> Result<(), ImageError> {
        if let Some(first) = self.shards.first() {
            let shape = |shard: &Shard| (shard.channels, shard.resolution);
            if shape(first) != shape(&shard) {
                let reason = format!(
                    "images of {:?} (channels, side), the shards before hold {:?}",
                    shape(&shard),
                    shape(first)
                );
                let name = format!("shard {}", self.shards.len());
                return Err(FileError::format(name, reason).into());
            }
        }
        self.firsts.push(self.count);
        self.count += shard.count;
        self.shards.push(shard);
        Ok(())
    }

    /// Number of images over all shards.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The image at `index` in RGB; a grey image is repeated in all three channels.
    ///
    /// # Panics
    /// When `index` is not below [`ImageSource::len`].
    pub fn picture(&self, index: usize) -> Picture {
        let at = self.firsts.partition_point(|first| *first <= index) - 1;
        let shard = &self.shards[at];
        let (side, planes) = (shard.resolution, shard.image(index - self.firsts[at]));
        let picture = Picture::from_planes(side, side, shard.channels, planes);
        picture
            .expect("invariant: a shard's images have its shape")
            .into_rgb()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(values: &[u8], side: usize) -> Shard {
        Shard {
            count: values.len(),
            channels: 1,
            resolution: side,
            images: values
                .iter()
                .flat_map(|value| vec![*value; side * side])
                .collect(),
            ..Shard::default()
        }
    }

    #[test]
    fn images_are_found_across_shards() {
        let mut images = ImageSource::default();
        images.add(shard(&[1, 2, 3], 2)).unwrap();
        images.add(shard(&[4], 2)).unwrap();
        images.add(shard(&[5, 6], 2)).unwrap();
        let first_bytes: Vec<u8> = (0..images.len())
            .map(|index| images.picture(index).pixels[0])
            .collect();
        assert_eq!(first_bytes, [1, 2, 3, 4, 5, 6]);
        assert_eq!(images.picture(3).pixels.len(), 12, "grey became RGB");
        assert!(
            images
                .add(shard(&[1], 3))
                .unwrap_err()
                .to_string()
                .contains("shard 3")
        );
    }
}

//! The images of a gallery: read from an imported folder, laid out on one sheet, written as PNG.

use anyhow::{Context, Result, ensure};
use cedm_atomic_file::AtomicFile;
use cedm_images::{Imported, Picture, Shard, read_shard};
use std::path::{Path, PathBuf};

/// Pixels between two images: enough to tell them apart.
const GAP: usize = 2;
/// Grey value of the background, white as the page that shows it.
const BACKGROUND: u8 = 255;

/// The image shards of a folder written by `cedm-extractor import`.
pub(super) struct ImageFolder {
    shards: Vec<(PathBuf, usize)>,
    pub(super) count: usize,
}

impl ImageFolder {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let imported =
            Imported::read(folder).context("is it a folder written by `cedm-extractor import`?")?;
        let shards = imported
            .set
            .shards
            .iter()
            .map(|shard| (folder.join(&shard.object.object), shard.count as usize));
        Ok(Self {
            shards: shards.collect(),
            count: imported.set.count as usize,
        })
    }

    /// The images with these indices, `None` for an index outside the set; each shard is read once.
    pub(super) fn pick(&self, rows: &[usize]) -> Result<Vec<Option<Picture>>> {
        let mut pictures: Vec<Option<Picture>> = vec![None; rows.len()];
        let mut first = 0;
        for (path, count) in &self.shards {
            let here = |row: &usize| (first..first + count).contains(row);
            if rows.iter().any(here) {
                let shard = read_shard(path)?;
                ensure!(
                    shard.count == *count,
                    "{}: {} images, expected {count}",
                    path.display(),
                    shard.count
                );
                for (picture, row) in pictures.iter_mut().zip(rows).filter(|(_, row)| here(row)) {
                    *picture = Some(image(&shard, row - first)?);
                }
            }
            first += count;
        }
        Ok(pictures)
    }
}

fn image(shard: &Shard, index: usize) -> Result<Picture> {
    Ok(Picture::from_planes(
        shard.resolution,
        shard.resolution,
        shard.channels,
        shard.image(index),
    )?)
}

/// One RGB picture with images of equal size in rows of `columns`.
pub(super) fn montage(pictures: &[Option<Picture>], columns: usize) -> Picture {
    let side = pictures
        .iter()
        .flatten()
        .map(|picture| picture.width)
        .max()
        .unwrap_or(1);
    let step = side + GAP;
    let (width, height) = (columns * step, pictures.len().div_ceil(columns) * step);
    let mut pixels = vec![BACKGROUND; width * height * 3];
    for (place, picture) in pictures.iter().enumerate() {
        let Some(picture) = picture else { continue };
        for (at, pixel) in picture.pixels.chunks_exact(picture.channels).enumerate() {
            let (x, y) = (
                place % columns * step + at % side,
                place / columns * step + at / side,
            );
            for channel in 0..3 {
                pixels[(y * width + x) * 3 + channel] = pixel[channel % picture.channels];
            }
        }
    }
    Picture {
        width,
        height,
        channels: 3,
        pixels,
    }
}

/// Writes a picture in RGB as PNG.
pub(super) fn write_png(path: &Path, picture: &Picture) -> Result<()> {
    let write = || -> Result<()> {
        let mut file = AtomicFile::create(path)?;
        let (width, height) = (picture.width as u32, picture.height as u32);
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&picture.pixels)?;
        Ok(file.commit()?)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_montage_keeps_positions_and_leaves_gaps() {
        let grey = |value| Some(Picture::new(1, 1, 1, vec![value]).unwrap());
        let sheet = montage(&[grey(1), None, grey(3)], 2);
        assert_eq!((sheet.width, sheet.height), (6, 6));
        let at = |x: usize, y: usize| sheet.pixels[(y * 6 + x) * 3..][..3].to_vec();
        assert_eq!(
            (at(0, 0), at(3, 0), at(0, 3)),
            (vec![1; 3], vec![BACKGROUND; 3], vec![3; 3])
        );
    }
}

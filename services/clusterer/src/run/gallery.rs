//! `clusterer gallery`: the images of a clustering, to be looked at.

use anyhow::{Context, Result, ensure};
use cedm_contract::kinds::cluster::assignments::{CONFIDENCE, IDS};
use cedm_images::{Imported, Picture, Shard, read_shard};
use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};
use tch::{Kind, Tensor};

/// Pixels between two images.
const GAP: usize = 2;
/// Grey of the ground.
const GROUND: u8 = 255;

/// Lays images of a clustering out as PNG files: the most and the least confident ones (spec §11),
/// and a row for each cluster.
#[derive(Debug, clap::Args)]
pub struct GalleryArgs {
    /// The clustered images in the order of their features: a folder that `cedm-extractor import`
    /// made
    #[arg(long)]
    images: PathBuf,
    /// `assignments.safetensors` of the clustering
    #[arg(long)]
    assignments: PathBuf,
    /// Folder to write to: clusters.png and, for TEMI, most-confident.png and least-confident.png
    #[arg(long)]
    out: PathBuf,
    /// Images per row
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=256))]
    columns: u64,
    /// Rows of the galleries by confidence
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    rows: u64,
    /// Clusters shown, the largest first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    clusters: u64,
}

impl GalleryArgs {
    /// Draws; what was drawn as JSON.
    ///
    /// # Errors
    /// When files cannot be read or written, or there are not as many ids as images.
    pub fn run(&self) -> Result<serde_json::Value> {
        let images = Images::open(&self.images)?;
        let clustering = Read::open(&self.assignments)?;
        ensure!(
            clustering.ids.len() == images.count,
            "{} holds {} ids, {} holds {} images",
            self.assignments.display(),
            clustering.ids.len(),
            self.images.display(),
            images.count
        );
        fs::create_dir_all(&self.out).with_context(|| format!("make {}", self.out.display()))?;
        let (columns, shown) = (self.columns as usize, (self.columns * self.rows) as usize);
        let mut drawn = Vec::new();
        let mut draw = |name: &str, rows: &[usize]| -> Result<()> {
            write_png(&self.out.join(name), &montage(&images.pick(rows)?, columns))?;
            drawn.push(name.to_owned());
            Ok(())
        };
        let order = clustering.by_confidence();
        if clustering.confidence.is_some() {
            draw("most-confident.png", &order[..shown.min(order.len())])?;
            let least: Vec<usize> = order.iter().rev().take(shown).copied().collect();
            draw("least-confident.png", &least)?;
        }
        let rows = clustering.rows_by_cluster(&order, columns, self.clusters as usize);
        write_png(
            &self.out.join("clusters.png"),
            &montage(&images.pick(&rows)?, columns),
        )?;
        drawn.push("clusters.png".to_owned());
        Ok(
            serde_json::json!({ "out": self.out, "images": images.count, "clusters": clustering.sizes().len(), "drawn": drawn }),
        )
    }
}

/// What a gallery needs of a clustering.
struct Read {
    ids: Vec<i64>,
    confidence: Option<Vec<f64>>,
}

impl Read {
    fn open(path: &Path) -> Result<Self> {
        let tensors =
            Tensor::read_safetensors(path).with_context(|| format!("read {}", path.display()))?;
        let find = |name: &str| {
            tensors
                .iter()
                .find(|(found, _)| found == name)
                .map(|(_, tensor)| tensor)
        };
        let ids = find(IDS.name)
            .with_context(|| format!("{}: tensor `{IDS}` is missing", path.display()))?;
        let ids = Vec::<i64>::try_from(&ids.to_kind(Kind::Int64))
            .with_context(|| format!("{}: `ids` is no vector", path.display()))?;
        let confidence =
            match find(CONFIDENCE.name) {
                None => None,
                Some(tensor) => {
                    let values = Vec::<f64>::try_from(&tensor.to_kind(Kind::Double));
                    Some(values.with_context(|| {
                        format!("{}: `confidence` is no vector", path.display())
                    })?)
                }
            };
        let found = confidence.as_ref().map_or(ids.len(), Vec::len);
        ensure!(
            found == ids.len(),
            "{}: {found} confidences of {} ids",
            path.display(),
            ids.len()
        );
        Ok(Self { ids, confidence })
    }

    /// Images from the most confident on, equal ones and those without confidence by index.
    fn by_confidence(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        if let Some(values) = &self.confidence {
            order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
        }
        order
    }

    /// (size, id) of each cluster, the largest first.
    fn sizes(&self) -> Vec<(usize, i64)> {
        let mut counts = std::collections::BTreeMap::new();
        self.ids
            .iter()
            .for_each(|id| *counts.entry(*id).or_insert(0) += 1);
        let mut sizes: Vec<(usize, i64)> =
            counts.into_iter().map(|(id, count)| (count, id)).collect();
        sizes.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        sizes
    }

    /// The first `columns` images of each cluster by `order`, `usize::MAX` where it has fewer.
    fn rows_by_cluster(&self, order: &[usize], columns: usize, clusters: usize) -> Vec<usize> {
        let mut rows = Vec::new();
        for (_, cluster) in self.sizes().into_iter().take(clusters) {
            let from = rows.len();
            rows.extend(
                order
                    .iter()
                    .copied()
                    .filter(|row| self.ids[*row] == cluster)
                    .take(columns),
            );
            rows.resize(from + columns, usize::MAX);
        }
        rows
    }
}

/// An imported set, shard by shard.
struct Images {
    shards: Vec<(PathBuf, usize)>,
    count: usize,
}

impl Images {
    fn open(folder: &Path) -> Result<Self> {
        let record = folder.join("import.json");
        let text = fs::read(&record).with_context(|| {
            format!(
                "read {}: is it a folder that `cedm-extractor import` made?",
                record.display()
            )
        })?;
        let imported: Imported =
            serde_json::from_slice(&text).with_context(|| record.display().to_string())?;
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

    /// Images at these places, `None` for places outside; each shard is read once.
    fn pick(&self, rows: &[usize]) -> Result<Vec<Option<Picture>>> {
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

/// Pictures of one size in rows of `columns`, as RGB.
fn montage(pictures: &[Option<Picture>], columns: usize) -> Picture {
    let side = pictures
        .iter()
        .flatten()
        .map(|picture| picture.width)
        .max()
        .unwrap_or(1);
    let step = side + GAP;
    let (width, height) = (columns * step, pictures.len().div_ceil(columns) * step);
    let mut pixels = vec![GROUND; width * height * 3];
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

fn write_png(path: &Path, picture: &Picture) -> Result<()> {
    let part = path.with_extension("part");
    let write = || -> Result<()> {
        let mut encoder = png::Encoder::new(
            BufWriter::new(File::create(&part)?),
            picture.width as u32,
            picture.height as u32,
        );
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&picture.pixels)?;
        Ok(fs::rename(&part, path)?)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clustering() -> Read {
        Read {
            ids: vec![1, 0, 1, 1, 0],
            confidence: Some(vec![-0.5, -0.1, -0.2, -0.5, -3.0]),
        }
    }

    #[test]
    fn confident_images_come_first_and_large_clusters_too() {
        let order = clustering().by_confidence();
        assert_eq!(order, [1, 2, 0, 3, 4]);
        assert_eq!(
            clustering().rows_by_cluster(&order, 3, 9),
            [2, 0, 3, 1, 4, usize::MAX]
        );
        assert_eq!(clustering().rows_by_cluster(&order, 2, 1), [2, 0]);
    }

    #[test]
    fn a_montage_keeps_places_and_leaves_gaps() {
        let grey = |value| Some(Picture::new(1, 1, 1, vec![value]).unwrap());
        let sheet = montage(&[grey(1), None, grey(3)], 2);
        assert_eq!((sheet.width, sheet.height), (6, 6));
        let at = |x: usize, y: usize| sheet.pixels[(y * 6 + x) * 3..][..3].to_vec();
        assert_eq!(
            (at(0, 0), at(3, 0), at(0, 3)),
            (vec![1; 3], vec![GROUND; 3], vec![3; 3])
        );
    }
}

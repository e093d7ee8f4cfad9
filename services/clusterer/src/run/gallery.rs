//! `cedm-clusterer gallery`: the images of a clustering as PNG sheets.

mod images;

use anyhow::{Context, Result, ensure};
use cedm_contract::kinds::cluster::assignments::{CONFIDENCE, IDS};
use cedm_runtime::InputPath;
use cedm_tensor_files::TensorFile;
use cedm_torch::tensor_files;
use images::{ImageFolder, montage, write_png};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tch::Kind;

/// Draw images of a clustering as PNG sheets: the most and the least confident ones, and
/// one row for each cluster.
#[derive(Debug, clap::Args)]
pub struct GalleryArgs {
    /// The clustered images in the order of their features: a folder written by `cedm-extractor
    /// import`, path or s3:// URI
    #[arg(long)]
    images: InputPath,
    /// `assignments.safetensors` of the clustering: path or s3:// URI
    #[arg(long)]
    assignments: InputPath,
    /// Output folder for clusters.png and, for TEMI, most-confident.png and least-confident.png
    #[arg(long)]
    out: PathBuf,
    /// Number of images per row
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=256))]
    columns: u64,
    /// Number of rows of the sheets by confidence
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    rows: u64,
    /// Number of clusters to draw, the largest first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    clusters: u64,
}

impl GalleryArgs {
    /// Draws the sheets and returns a summary as JSON.
    ///
    /// # Errors
    /// If files cannot be read or written, or the numbers of ids and images differ.
    pub fn run(&self) -> Result<serde_json::Value> {
        let images = self.images.read(ImageFolder::open)?;
        let clustering = self.assignments.read(ClusteringFile::open)?;
        ensure!(
            clustering.ids.len() == images.count,
            "{} holds {} ids, {} holds {} images",
            self.assignments,
            clustering.ids.len(),
            self.images,
            images.count
        );
        fs::create_dir_all(&self.out).with_context(|| format!("create {}", self.out.display()))?;
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
            // The least confident image first, as in the most confident sheet the most confident
            // one.
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

/// The tensors of `assignments.safetensors` that a gallery needs.
struct ClusteringFile {
    /// Compact cluster id of each image.
    ids: Vec<i64>,
    /// Log-confidence of each image, for TEMI.
    confidence: Option<Vec<f64>>,
}

impl ClusteringFile {
    fn open(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let column = |name: &str, kind: Kind| {
            let tensor = tensor_files::tensor(&file, name)?;
            match tensor.dim() {
                1 => Ok(tensor.to_kind(kind)),
                _ => Err(file.unexpected(name, "one number per image")),
            }
        };
        let ids = Vec::<i64>::try_from(column(IDS.name, Kind::Int64)?)?;
        if !file.has(CONFIDENCE.name) {
            return Ok(Self {
                ids,
                confidence: None,
            });
        }
        let confidence = Vec::<f64>::try_from(column(CONFIDENCE.name, Kind::Double)?)?;
        ensure!(
            confidence.len() == ids.len(),
            "{}: {} confidences for {} ids",
            path.display(),
            confidence.len(),
            ids.len()
        );
        Ok(Self {
            ids,
            confidence: Some(confidence),
        })
    }

    /// Image indices by descending confidence, equal ones by index; by index alone if there is no
    /// confidence.
    fn by_confidence(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        if let Some(values) = &self.confidence {
            order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
        }
        order
    }

    /// (size, id) of each cluster, the largest first, equal ones by id.
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

    /// The first `columns` images of each of the largest `clusters` clusters by `order`, filled
    /// with `usize::MAX` if a cluster has fewer.
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
            // Every cluster has a row of its own, with empty places at its end.
            rows.resize(from + columns, usize::MAX);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clustering() -> ClusteringFile {
        ClusteringFile {
            ids: vec![1, 0, 1, 1, 0],
            confidence: Some(vec![-0.5, -0.1, -0.2, -0.5, -3.0]),
        }
    }

    #[test]
    fn images_are_ordered_by_confidence_and_clusters_by_size() {
        let order = clustering().by_confidence();
        assert_eq!(order, [1, 2, 0, 3, 4]);
        assert_eq!(
            clustering().rows_by_cluster(&order, 3, 9),
            [2, 0, 3, 1, 4, usize::MAX]
        );
        assert_eq!(clustering().rows_by_cluster(&order, 2, 1), [2, 0]);
    }
}

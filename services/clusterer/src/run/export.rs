//! `cedm-clusterer export`: a clustering as npy files, or in the folder layout of the C-EDM
//! authors.

use crate::{Layout, read_ids};
use anyhow::{Context, Result, bail};
use cedm_maths::partition::compact;
use cedm_runtime::InputPath;
use cedm_tensor_files::write_npy;
use std::{fs, path::PathBuf};

/// Write a clustering as npy files, or in the folder layout of the C-EDM authors (--backbone).
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// `assignments.safetensors` of a clustering, or any file of ids: path or s3:// URI
    #[arg(long)]
    ids: InputPath,
    /// Output folder; for the authors' layout, the folder of the data set
    #[arg(long)]
    out: PathBuf,
    /// Use the authors' layout, with this name of the feature extractor. Without it the files
    /// ids.npy, raw_ids.npy and counts.npy are written
    #[arg(long)]
    backbone: Option<String>,
    /// Number of clusters, C, for the authors' layout. Default: the largest id plus one
    #[arg(long)]
    clusters: Option<u32>,
    /// TEMI's beta in the folder's name of the authors' layout. Without it the folder is named as
    /// for k-means
    #[arg(long)]
    beta: Option<String>,
}

impl ExportArgs {
    /// Writes the clustering and returns a summary as JSON.
    ///
    /// # Errors
    /// If files cannot be read or written, or the options do not fit together.
    pub fn run(&self) -> Result<serde_json::Value> {
        let raw_ids = self.ids.read(read_ids)?;
        let slots = match self.clusters {
            Some(clusters) => clusters,
            None => slots_of(&raw_ids).with_context(|| self.ids.to_string())?,
        };
        let (ids, usage) = compact(&raw_ids, slots).with_context(|| self.ids.to_string())?;
        let counts: Vec<i64> = usage.counts.iter().map(|&count| count as i64).collect();
        let folder = match (&self.backbone, &self.beta) {
            (None, None) => {
                fs::create_dir_all(&self.out)
                    .with_context(|| format!("create {}", self.out.display()))?;
                for (name, values) in [
                    ("ids.npy", &ids),
                    ("raw_ids.npy", &raw_ids),
                    ("counts.npy", &counts),
                ] {
                    let file = self.out.join(name);
                    write_npy(&file, &[values.len()], values)
                        .with_context(|| format!("write {}", file.display()))?;
                }
                self.out.clone()
            }
            (None, Some(_)) => bail!("--beta needs --backbone"),
            (Some(backbone), beta) => {
                if backbone.is_empty()
                    || backbone.contains(['/', '\\'])
                    || beta
                        .as_ref()
                        .is_some_and(|beta| beta.parse::<f64>().is_err())
                {
                    bail!(
                        "--backbone {backbone}, --beta {beta:?}: expected a plain name and a number"
                    );
                }
                let (backbone, clusters) = (backbone.clone(), slots);
                let layout = match beta {
                    Some(beta) => Layout::Temi {
                        backbone,
                        clusters,
                        beta: beta.clone(),
                    },
                    None => Layout::Kmeans { backbone, clusters },
                };
                layout.write(&self.out, &raw_ids, &counts)?
            }
        };
        Ok(
            serde_json::json!({ "folder": folder, "count": raw_ids.len(), "clusters": slots, "used": usage.used() }),
        )
    }
}

/// The number of clusters that these ids need: the largest one plus one.
fn slots_of(raw_ids: &[i64]) -> Result<u32> {
    let largest = raw_ids.iter().copied().max().unwrap_or(0);
    let slots = largest
        .checked_add(1)
        .and_then(|slots| u32::try_from(slots).ok());
    slots.with_context(|| {
        format!(
            "cluster id {largest}, expected 0 to {}: give --clusters",
            u32::MAX - 1
        )
    })
}

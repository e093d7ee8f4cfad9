//! `clusterer export`.

use crate::{Layout, read_ids};
use anyhow::{Context, Result, bail};
use cedm_maths::partition::compact;
use npyz::WriterBuilder;
use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

/// Writes a clustering as npy files, or as the C-EDM authors do.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// `assignments.safetensors` of a clustering, or any file of ids
    #[arg(long)]
    ids: PathBuf,
    /// Folder to write to; for the authors' layout, the folder of the data set
    #[arg(long)]
    out: PathBuf,
    /// The authors' layout: the feature extractor's name; without it ids.npy, raw_ids.npy and
    /// counts.npy are written
    #[arg(long)]
    backbone: Option<String>,
    /// C, for the authors' layout; default: the largest id plus one
    #[arg(long)]
    clusters: Option<u32>,
    /// beta of TEMI as the folder's name shows it; without it the folder is that of a k-means
    /// clustering
    #[arg(long)]
    beta: Option<String>,
}

impl ExportArgs {
    /// Exports; what was written as JSON.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn run(&self) -> Result<serde_json::Value> {
        let raw_ids = read_ids(&self.ids)?;
        let largest = raw_ids.iter().copied().max().unwrap_or(0);
        let slots = self
            .clusters
            .unwrap_or(u32::try_from(largest + 1).context("largest id")?);
        let (ids, usage) = compact(&raw_ids, slots)?;
        let counts: Vec<i64> = usage.counts.iter().map(|&count| count as i64).collect();
        let folder = match (&self.backbone, &self.beta) {
            (None, None) => {
                fs::create_dir_all(&self.out)
                    .with_context(|| format!("make {}", self.out.display()))?;
                for (name, values) in [
                    ("ids.npy", &ids),
                    ("raw_ids.npy", &raw_ids),
                    ("counts.npy", &counts),
                ] {
                    write_npy(&self.out.join(name), values)?;
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

/// Writes beside the file first: nothing half-written is ever there.
fn write_npy(path: &Path, values: &[i64]) -> Result<()> {
    let part = path.with_extension("part");
    let write = || -> Result<()> {
        let file = BufWriter::new(File::create(&part)?);
        let shape = [values.len() as u64];
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&shape)
            .writer(file)
            .begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()?;
        Ok(fs::rename(&part, path)?)
    };
    write().with_context(|| format!("write {}", path.display()))
}

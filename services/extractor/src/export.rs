//! The `export` command: imported images as an archive that the EDM tools read.

use crate::{import::ShapeArgs, inputs::Images, output::require_ending};
use anyhow::{Context, Result};
use cedm_runtime::InputPath;
use std::path::PathBuf;

/// Writes images as an EDM archive: stored PNGs and `dataset.json`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Images: a folder that `import` made, or any source that it accepts
    images: InputPath,
    /// The archive to write (.zip)
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    shape: ShapeArgs,
}

impl ExportArgs {
    /// Exports; returns a summary as JSON.
    ///
    /// # Errors
    /// When the images cannot be read or the archive cannot be written.
    pub fn run(&self) -> Result<serde_json::Value> {
        require_ending(&self.out, &["zip"])?;
        let scratch = tempfile::tempdir().context("create a temporary folder")?;
        let images = Images::open(&self.images, &self.shape, scratch.path())?;
        cedm_images::export_edm_archive(&images.imported.set, images.folder(), &self.out)?;
        Ok(serde_json::json!({
            "out": self.out,
            "count": images.imported.set.count,
            "content": images.imported.set.content,
            "bytes": std::fs::metadata(&self.out).with_context(|| format!("read {}", self.out.display()))?.len(),
        }))
    }
}

//! `cedm-clusterer neighbours`: the nearest rows of every row of a file of features.

use super::{Memory, find_neighbours, load};
use anyhow::{Context, Result};
use cedm_contract::kinds::neighbours::neighbour_lists::{INDICES, SIMILARITIES};
use cedm_runtime::{ConsoleMonitor, InputPath, JobError};
use cedm_torch::tensor_files;
use std::{path::PathBuf, time::Instant};
use tch::Kind;

/// Find the nearest neighbours of every row by cosine similarity.
#[derive(Debug, clap::Args)]
pub struct NeighboursArgs {
    /// Features, one row per image: .safetensors, .npy, .npz or .pt
    #[arg(long)]
    features: InputPath,
    /// Name of the array in that file. Default: `features`, or the only array
    #[arg(long)]
    array: Option<String>,
    /// Number of neighbours per row, the row itself not counted
    // As many as TEMI learns from (spec §3).
    #[arg(short, default_value_t = 50)]
    k: u32,
    #[command(flatten)]
    memory: Memory,
    /// Output file (safetensors) with `indices` i32 [n, k] and `similarities` f32 [n, k]
    #[arg(long)]
    out: PathBuf,
}

impl NeighboursArgs {
    /// Searches, writes the neighbours and returns a summary as JSON.
    ///
    /// # Errors
    /// If files cannot be read or written, or there are not more than k rows.
    pub fn run(&self) -> Result<serde_json::Value> {
        let compute = cedm_torch::start()?;
        let array = self.array.as_deref();
        let features = self
            .features
            .read(|path| load(path, array, compute.device))?;
        let started = Instant::now();
        let found = find_neighbours(
            &features,
            self.k,
            self.memory.tile_bytes(),
            &ConsoleMonitor::default(),
        )
        .map_err(JobError::into_source)
        .with_context(|| self.features.to_string())?;
        let seconds = started.elapsed().as_secs_f64();
        let similarities = found.similarities.to_kind(Kind::Float);
        tensor_files::write(
            &self.out,
            &[
                (INDICES.name, found.indices),
                (SIMILARITIES.name, similarities),
            ],
            &[],
        )?;
        Ok(serde_json::json!({
            "out": self.out,
            "device": compute.device_name(),
            "count": features.count(),
            "dim": features.width(),
            "k": self.k,
            "seconds": seconds,
        }))
    }
}

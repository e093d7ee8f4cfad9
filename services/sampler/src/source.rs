//! A network on disk: its weights, whatever container they come in, and what lies beside them.

use anyhow::Context;
use cedm_diffusion::{Network, Parameters, weights};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use tch::Tensor;

/// The network that a weight file belongs to, with its weights in float32 on the CPU. `sigma_data`
/// overrides what the file says.
///
/// # Errors
/// When the file cannot be read, or its tensors are not those of one SongUNet.
pub fn read_network(path: &Path, sigma_data: Option<f64>) -> anyhow::Result<(Network, Parameters)> {
    let file =
        cedm_nets::Weights::read(path).with_context(|| format!("read {}", path.display()))?;
    let tensors: HashMap<String, Tensor> = file
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
        .collect();
    let origin = path.display().to_string();
    let noting = path
        .extension()
        .is_some_and(|extension| extension == "safetensors");
    let sigma_data = match sigma_data {
        None if noting => weights::noted_sigma_data(path)?,
        asked => asked,
    };
    Ok(weights::assemble(&tensors, &origin, sigma_data)?)
}

/// `condition.safetensors` in the folder of the weights, as `trainer run` leaves it.
pub fn condition_beside(weights: &Path) -> Option<PathBuf> {
    Some(weights.with_file_name("condition.safetensors")).filter(|path| path.exists())
}

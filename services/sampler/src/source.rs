//! A network on disk: its weights, whatever container they come in, and what lies beside them.

use anyhow::{Context, ensure};
use cedm_diffusion::{Network, Parameters, weights};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use tch::{Device, Kind, Tensor};

/// The network that a weight file belongs to, with its weights in float32 on the CPU. `sigma_data` overrides what the file says.
///
/// # Errors
/// When the file cannot be read, or its tensors are not those of one SongUNet.
pub fn read_network(path: &Path, sigma_data: Option<f64>) -> anyhow::Result<(Network, Parameters)> {
    let file = cedm_nets::Weights::read(path).with_context(|| format!("read {}", path.display()))?;
    let tensors: HashMap<String, Tensor> = file
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
        .collect();
    let origin = path.display().to_string();
    let mut architecture = weights::recognise(&tensors, &origin)?;
    if let Some(value) = sigma_data.map_or_else(|| sigma_data_of(path), |value| Ok(Some(value)))? {
        architecture.sigma_data = value;
    }
    let network = Network::new(architecture)?;
    let parameters = Parameters::from_tensors(&network.layout, &tensors, &origin, Kind::Float, Device::Cpu)?;
    Ok((network, parameters))
}

/// What our own weight files note; other files say nothing.
fn sigma_data_of(path: &Path) -> anyhow::Result<Option<f64>> {
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return Ok(None);
    }
    let Some(text) = weights::read_metadata(path)?.remove(weights::SIGMA_DATA) else {
        return Ok(None);
    };
    let value: f64 = text
        .parse()
        .with_context(|| format!("{} notes {} `{text}`: expected a number", path.display(), weights::SIGMA_DATA))?;
    ensure!(
        value.is_finite() && value > 0.0,
        "{} notes {} {value}: expected a positive number",
        path.display(),
        weights::SIGMA_DATA
    );
    Ok(Some(value))
}

/// `condition.safetensors` in the folder of the weights, as `trainer run` leaves it.
pub fn condition_beside(weights: &Path) -> Option<PathBuf> {
    Some(weights.with_file_name("condition.safetensors")).filter(|path| path.exists())
}

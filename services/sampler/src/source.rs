//! A network on disk: its weight file (safetensors or PyTorch) and the condition file beside it.

use anyhow::{Context, ensure};
use cedm_diffusion::{
    Network, Parameters,
    weights::{self, CONDITION_FILE},
};
use cedm_nets::weights::Origin;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use tch::Tensor;

/// The network of a weight file, recognised from the names and shapes of its tensors, with its
/// weights in float32 on the CPU. `sigma_data` overrides the value noted in the file.
///
/// # Errors
/// If the file cannot be read, its tensors are not those of one SongUNet, or it says that its
/// network is another than the tensors show or is preconditioned in another way than EDM's.
pub fn read_network(path: &Path, sigma_data: Option<f64>) -> anyhow::Result<(Network, Parameters)> {
    let file =
        cedm_nets::Weights::read(path).with_context(|| format!("read {}", path.display()))?;
    let tensors: HashMap<String, Tensor> = file
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
        .collect();
    let origin = path.display().to_string();
    // A snapshot holds the loss and the augmentation beside the network, each with arguments of its
    // own.
    let prefix = weights::network_prefix(&tensors, &origin)?;
    let pickled = file.origin(prefix.trim_end_matches('.'));
    if let Some(pickled) = pickled {
        check_class(pickled, sigma_data).with_context(|| origin.clone())?;
    }
    let noted = match sigma_data {
        None if file.is_safetensors() => weights::noted_sigma_data(path)?,
        None => pickled.and_then(|pickled| pickled.sigma_data),
        given => given,
    };
    let read = weights::assemble(&tensors, &origin, noted);
    let (network, parameters) = read.map_err(|error| match cedm_nets::nearest(&file) {
        Some(nearest) => anyhow::anyhow!("{error}; nearest is {nearest}"),
        None => error.into(),
    })?;
    if let Some(pickled) = pickled {
        check_shape(pickled, &network).with_context(|| origin.clone())?;
    }
    Ok((network, parameters))
}

/// Refuses networks that are preconditioned in another way than EDM's (Karras et al. 2022, table
/// 1): their tensors may have the same names and shapes, and mean something else.
fn check_class(pickled: &Origin, given: Option<f64>) -> anyhow::Result<()> {
    let other = match pickled.class.as_str() {
        "EDMPrecond" => None,
        "VPPrecond" => Some("is preconditioned as VP, of score SDEs (DDPM++)"),
        "VEPrecond" => Some("is preconditioned as VE, of score SDEs (NCSN++)"),
        "iDDPMPrecond" => Some("is preconditioned as iDDPM, of improved DDPM"),
        // Whoever saved the network without its preconditioning knows which it was.
        "SongUNet" if given.is_some() => None,
        "SongUNet" => Some(
            "does not say how it is preconditioned; --sigma-data says that it is EDM's, for data of \
             that standard deviation",
        ),
        _ => Some("is preconditioned in an unknown way"),
    };
    match other {
        None => {}
        Some(other) => anyhow::bail!(
            "the network is a {}, which {other}; expected EDMPrecond, the one that the sampler \
             computes",
            pickled.class
        ),
    }
    let (low, high) = (
        pickled.sigma_min.unwrap_or(0.0),
        pickled.sigma_max.unwrap_or(f64::INFINITY),
    );
    ensure!(
        low <= LOWEST && high >= HIGHEST,
        "the network takes noise levels from {low} to {high}, expected at least those from {LOWEST} \
         to {HIGHEST} that are sampled"
    );
    if let Some(kind) = &pickled.model_type {
        ensure!(
            kind == "SongUNet",
            "the network inside is a {kind}, expected SongUNet"
        );
    }
    Ok(())
}

/// Noise levels of EDM's sampler; its networks take all unless they are told otherwise.
const LOWEST: f64 = 0.002;
const HIGHEST: f64 = 80.0;

/// Compares what the file says of the network with its tensors.
fn check_shape(pickled: &Origin, network: &Network) -> anyhow::Result<()> {
    let found = &network.architecture;
    for (argument, said, found) in [
        ("img_resolution", pickled.img_resolution, found.resolution),
        ("img_channels", pickled.img_channels, found.channels),
        ("label_dim", pickled.label_dim, found.label_dim),
    ] {
        if let Some(said) = said {
            ensure!(
                said == found,
                "the file says that {argument} of its network is {said}, its tensors are those of \
                 {found}"
            );
        }
    }
    Ok(())
}

/// `condition.safetensors` in the folder of the weights, where `trainer run` writes it; `None` if
/// there is none.
pub fn condition_beside(weights: &Path) -> Option<PathBuf> {
    Some(weights.with_file_name(CONDITION_FILE)).filter(|path| path.exists())
}

#[cfg(test)]
mod tests;

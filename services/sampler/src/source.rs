//! A network on disk: its weight file (safetensors or PyTorch) and the condition file beside it.

use anyhow::Context;
use cedm_diffusion::{
    Network, Parameters,
    weights::{self, CONDITION_FILE},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use tch::Tensor;

/// The network of a weight file, recognised from the names and shapes of its tensors, with its
/// weights in float32 on the CPU. `sigma_data` overrides the value noted in the file.
///
/// # Errors
/// If the file cannot be read, or its tensors are not those of one SongUNet.
pub fn read_network(path: &Path, sigma_data: Option<f64>) -> anyhow::Result<(Network, Parameters)> {
    let file =
        cedm_nets::Weights::read(path).with_context(|| format!("read {}", path.display()))?;
    let tensors: HashMap<String, Tensor> = file
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
        .collect();
    let origin = path.display().to_string();
    // Of the two containers, only safetensors has metadata, where `sigma_data` may be noted.
    let has_metadata = path
        .extension()
        .is_some_and(|extension| extension == "safetensors");
    let origin_of_pickle = file.origin();
    if let Some(pickled) = origin_of_pickle {
        check_class(&pickled.class)?;
    }
    let sigma_data = match sigma_data {
        None if has_metadata => weights::noted_sigma_data(path)?,
        None => origin_of_pickle.and_then(|pickled| pickled.sigma_data),
        given => given,
    };
    Ok(weights::assemble(&tensors, &origin, sigma_data)?)
}

/// Refuses networks that are preconditioned in another way than EDM's (Karras et al. 2022, table
/// 1): their tensors may have the same names and shapes, and mean something else.
fn check_class(class: &str) -> anyhow::Result<()> {
    let other = match class {
        "VPPrecond" => "VP, of score SDEs (DDPM++)",
        "VEPrecond" => "VE, of score SDEs (NCSN++)",
        "iDDPMPrecond" => "iDDPM, of improved DDPM",
        _ => return Ok(()),
    };
    anyhow::bail!(
        "the network is a {class}: preconditioned as {other}; expected EDMPrecond, the one that the \
         sampler computes"
    )
}

/// `condition.safetensors` in the folder of the weights, where `trainer run` writes it; `None` if
/// there is none.
pub fn condition_beside(weights: &Path) -> Option<PathBuf> {
    Some(weights.with_file_name(CONDITION_FILE)).filter(|path| path.exists())
}

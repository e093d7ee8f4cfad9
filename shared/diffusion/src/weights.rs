//! Weight files of the diffusion network: upstream names in safetensors, checked against the
//! architecture, or the architecture recognised from them.

use crate::{
    DiffusionError,
    architecture::{Architecture, ImagePath},
    condition::Condition,
    layout::Layout,
    network::Network,
    parameters::Parameters,
};
use cedm_contract::TensorName;
use cedm_tensor_files::TensorFile;
use cedm_torch::tensor_files;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};
use tch::{Device, Kind, Tensor};

/// The expected standard deviation of the data, kept beside the weights: their shapes do not show
/// it.
pub const SIGMA_DATA: &str = "sigma_data";

/// How often each label occurs among the training images, kept beside the weights: counts in the
/// order of the labels, divided by commas.
pub const PRIOR: &str = "prior_counts";

/// The [`PRIOR`] of a network that is conditioned on vectors.
const VECTORS: &str = "vectors";

/// The file beside the weights of `cedm-trainer run` that holds what the sampler draws labels from:
/// the prior of the condition and its ids before compaction, or its embedding rows; absent for an
/// unconditional network.
pub const CONDITION_FILE: &str = "condition.safetensors";

/// The tensor of [`CONDITION_FILE`] with the vector of every training image, of a network that is
/// conditioned on vectors.
pub const CONDITION_ROWS: TensorName = TensorName::new("rows", "f32 [n, d]");

/// The file beside the weights of `cedm-trainer run` that describes the training as JSON.
pub const TRAINING_FILE: &str = "training.json";

/// The prefix before the network's own name of a tensor (`ema.` of `ema.model.enc.…`); `None` when
/// it is not a tensor of a SongUNet.
fn wrapper(name: &str) -> Option<&str> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
    starts
        .map(|start| name.split_at(start))
        .find(|(_, own)| {
            [
                "model.map_",
                "model.enc.",
                "model.dec.",
                "map_",
                "enc.",
                "dec.",
            ]
            .iter()
            .any(|head| own.starts_with(head))
        })
        .map(|(before, _)| before)
}

/// What stands before the names of the network of a file, with its dot: of several networks the
/// running mean (`ema.`) is taken; empty where nothing stands before them.
///
/// # Errors
/// [`DiffusionError::Weights`] when there are several networks and none, or more than one, is
/// called `ema`.
pub fn network_prefix<'t>(
    tensors: &'t HashMap<String, Tensor>,
    origin: &str,
) -> Result<&'t str, DiffusionError> {
    let wrappers: BTreeSet<&str> = tensors.keys().filter_map(|name| wrapper(name)).collect();
    let means: Vec<&str> = wrappers
        .iter()
        .copied()
        .filter(|before| before.split('.').any(|part| part == "ema"))
        .collect();
    let all: Vec<&str> = wrappers.iter().copied().collect();
    Ok(match (means.as_slice(), all.as_slice()) {
        ([], []) => "",
        ([one], _) | ([], [one]) => one,
        _ => {
            let several: Vec<String> = wrappers
                .iter()
                .map(|before| format!("`{before}`"))
                .collect();
            return Err(DiffusionError::Weights {
                origin: origin.to_owned(),
                difference: format!(
                    "{} networks, below {}: expected one, or one called `ema.`",
                    several.len(),
                    several.join(", ")
                ),
            });
        }
    })
}

/// Tensors by upstream name: what wrappers put before it is stripped, and `model.` is added where
/// only the inner network was stored. Of a file that holds several networks the running mean
/// (`ema.`) is taken, and nothing of the others.
///
/// # Errors
/// As [`network_prefix`].
pub fn upstream_names<'t>(
    tensors: &'t HashMap<String, Tensor>,
    origin: &str,
) -> Result<HashMap<String, &'t Tensor>, DiffusionError> {
    let chosen = network_prefix(tensors, origin)?;
    let own: HashMap<&str, &Tensor> = tensors
        .iter()
        .filter(|(name, _)| wrapper(name).is_none_or(|before| before == chosen))
        .filter_map(|(name, tensor)| Some((name.strip_prefix(chosen)?, tensor)))
        .collect();
    let inner = !own.keys().any(|name| name.starts_with("model."));
    let full = |name: &str| {
        if inner {
            format!("model.{name}")
        } else {
            name.to_owned()
        }
    };
    Ok(own
        .into_iter()
        .map(|(name, tensor)| (full(name), tensor))
        .collect())
}

/// A sentence with what is missing, unexpected or of another shape; `None` when everything fits.
pub fn difference(layout: &Layout, tensors: &HashMap<String, &Tensor>) -> Option<String> {
    let wanted: BTreeMap<&str, &[i64]> = layout
        .entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.shape.as_slice()))
        .collect();
    let found: BTreeSet<&str> = tensors.keys().map(String::as_str).collect();
    let missing: Vec<&str> = wanted
        .keys()
        .copied()
        .filter(|name| !found.contains(name))
        .collect();
    let unexpected: Vec<&str> = found
        .iter()
        .copied()
        .filter(|name| !wanted.contains_key(name))
        .collect();
    let misshapen: Vec<String> = wanted
        .iter()
        .filter_map(|(name, shape)| {
            let size = tensors.get(*name)?.size();
            (size != *shape).then(|| format!("{name} is {size:?} instead of {shape:?}"))
        })
        .collect();
    let list = |what: &str, items: &[String]| {
        let more = if items.len() > 4 {
            format!(" and {} more", items.len() - 4)
        } else {
            String::new()
        };
        (!items.is_empty()).then(|| {
            format!(
                "{} {what}: {}{more}",
                items.len(),
                items[..items.len().min(4)].join(", ")
            )
        })
    };
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let parts = [
        list("missing", &owned(missing)),
        list("unexpected", &owned(unexpected)),
        list("of another shape", &misshapen),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The architecture of a state dict, inferred from its names and shapes. Dropout is 0 and
/// sigma_data 0.5: shapes do not show them, and sampling does not need dropout.
///
/// # Errors
/// [`DiffusionError::Weights`] when the names are not those of a SongUNet.
pub fn recognise(
    tensors: &HashMap<String, Tensor>,
    origin: &str,
) -> Result<Architecture, DiffusionError> {
    let named = upstream_names(tensors, origin)?;
    let mismatch = |difference: String| DiffusionError::Weights {
        origin: origin.to_owned(),
        difference,
    };
    let size = |name: &str| named.get(name).map(|tensor| tensor.size());
    let resolution = named
        .keys()
        .find_map(|name| {
            name.strip_prefix("model.enc.")?
                .strip_suffix("_conv.weight")?
                .split('x')
                .next()?
                .parse::<i64>()
                .ok()
        })
        .ok_or_else(|| {
            mismatch(
                "1 missing: model.enc.<side>x<side>_conv.weight, by which a SongUNet is known"
                    .to_owned(),
            )
        })?;
    let first =
        size(&format!("model.enc.{resolution}x{resolution}_conv.weight")).unwrap_or_default();
    let layer0 = size("model.map_layer0.weight")
        .ok_or_else(|| mismatch("1 missing: model.map_layer0.weight".to_owned()))?;
    if first.len() != 4 || layer0.len() != 2 || first[0] == 0 || layer0[1] == 0 {
        return Err(mismatch(format!(
            "first convolution {first:?} and map_layer0 {layer0:?} have the wrong number of axes"
        )));
    }
    let (model_channels, channels) = (first[0], first[1]);
    let (mut channel_mult, mut num_blocks, mut attn_resolutions) = (Vec::new(), 0, Vec::new());
    let mut side = resolution;
    // A side of 0 would never end: names are whatever a file says.
    while side > 0
        && let Some(shape) = size(&format!("model.enc.{side}x{side}_block0.conv0.weight"))
    {
        channel_mult.push(shape.first().copied().unwrap_or(0) / model_channels);
        num_blocks = (0..)
            .take_while(|index| {
                named.contains_key(&format!(
                    "model.enc.{side}x{side}_block{index}.conv0.weight"
                ))
            })
            .count() as i64;
        if named.contains_key(&format!("model.enc.{side}x{side}_block0.qkv.weight")) {
            attn_resolutions.push(side);
        }
        side /= 2;
    }
    let has = |part: &str| named.keys().any(|name| name.contains(part));
    let filter = named
        .iter()
        .find(|(name, _)| name.ends_with("resample_filter"));
    let width = |name: &str| {
        let shape = size(name).unwrap_or_default();
        shape.get(1).copied().unwrap_or(0)
    };
    let architecture = Architecture {
        resolution,
        channels,
        label_dim: width("model.map_label.weight"),
        augment_dim: width("model.map_augment.weight"),
        model_channels,
        channel_mult,
        channel_mult_emb: layer0[0] / model_channels,
        channel_mult_noise: layer0[1] / model_channels,
        num_blocks,
        attn_resolutions,
        dropout: 0.0,
        label_dropout: 0.0,
        fourier: named.contains_key("model.map_noise.freqs"),
        encoder: if has("_aux_residual.") {
            ImagePath::Residual
        } else if has("_aux_skip.") {
            ImagePath::Skip
        } else {
            ImagePath::None
        },
        skip_decoder: has("_aux_up."),
        resample_filter: filter.map_or_else(|| vec![1.0, 1.0], |(_, filter)| taps_of(filter)),
        sigma_data: 0.5,
    };
    let network = Network::new(architecture)?;
    match difference(&network.layout, &named) {
        None => Ok(network.architecture),
        Some(difference) => Err(mismatch(difference)),
    }
}

/// The taps behind a normalised outer product \[1, 1, k, k\], in units of the first.
fn taps_of(filter: &Tensor) -> Vec<f64> {
    let rows =
        filter
            .to_kind(Kind::Double)
            .sum_dim_intlist([-1i64].as_slice(), false, Kind::Double);
    let sums = Vec::<f64>::try_from(rows.flatten(0, -1)).unwrap_or_default();
    sums.iter().map(|sum| sum / sums[0]).collect()
}

/// The network of a weight file that [`save`] wrote, with its parameters in float32 on the CPU.
///
/// # Errors
/// [`DiffusionError::TensorFile`] or [`DiffusionError::File`] when the file cannot be read,
/// [`DiffusionError::Weights`] when its tensors are not those of one
/// SongUNet.
pub fn load(path: &Path) -> Result<(Network, Parameters), DiffusionError> {
    let file = TensorFile::open(path)?;
    assemble(
        &tensor_files::tensors(&file)?,
        &path.display().to_string(),
        sigma_data_of(&file)?,
    )
}

/// The network of a state dict, for data of standard deviation `sigma_data` (0.5, EDM's value, for
/// `None`), with its parameters in float32 on the CPU.
///
/// # Errors
/// [`DiffusionError::Weights`] when the tensors are not those of one SongUNet,
/// [`DiffusionError::Setting`] when `sigma_data` is not positive.
pub fn assemble(
    tensors: &HashMap<String, Tensor>,
    origin: &str,
    sigma_data: Option<f64>,
) -> Result<(Network, Parameters), DiffusionError> {
    let mut architecture = recognise(tensors, origin)?;
    architecture.sigma_data = sigma_data.unwrap_or(architecture.sigma_data);
    let network = Network::new(architecture)?;
    let parameters =
        Parameters::from_tensors(&network.layout, tensors, origin, Kind::Float, Device::Cpu)?;
    Ok((network, parameters))
}

/// The [`SIGMA_DATA`] in a safetensors file's metadata; `None` where it does not say.
///
/// # Errors
/// [`DiffusionError::TensorFile`] when the file cannot be read, [`DiffusionError::File`] when the
/// value is not a positive number.
pub fn noted_sigma_data(path: &Path) -> Result<Option<f64>, DiffusionError> {
    sigma_data_of(&TensorFile::open(path)?)
}

fn sigma_data_of(file: &TensorFile<'_>) -> Result<Option<f64>, DiffusionError> {
    let Some(text) = file.notes().remove(SIGMA_DATA) else {
        return Ok(None);
    };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(Some(value)),
        _ => Err(DiffusionError::File {
            action: "read",
            path: file.origin().to_owned(),
            reason: format!("{SIGMA_DATA} is `{text}`, expected a positive number"),
        }),
    }
}

/// What a weight file says of the condition that its network was trained with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotedPrior {
    /// Training images of each label.
    Counts(Vec<i64>),
    /// The condition is a vector per image, which no note holds.
    Vectors,
}

/// The [`PRIOR`] in a safetensors file's metadata; `None` where it does not say, and where the
/// network has no condition.
///
/// # Errors
/// [`DiffusionError::TensorFile`] when the file cannot be read, [`DiffusionError::File`] when the
/// note is not what [`save_conditioned`] writes.
pub fn noted_prior(path: &Path) -> Result<Option<NotedPrior>, DiffusionError> {
    let file = TensorFile::open(path)?;
    let Some(text) = file.notes().remove(PRIOR) else {
        return Ok(None);
    };
    if text == VECTORS {
        return Ok(Some(NotedPrior::Vectors));
    }
    let counts = text.split(',').map(str::parse::<i64>);
    match counts.collect::<Result<Vec<i64>, _>>() {
        Ok(counts) if counts.iter().all(|count| *count > 0) => Ok(Some(NotedPrior::Counts(counts))),
        _ => Err(DiffusionError::File {
            action: "read",
            path: path.to_owned(),
            reason: format!("{PRIOR} is not a list of counts above 0"),
        }),
    }
}

/// As [`save`], with the [`PRIOR`] of the condition that the network was trained with, so that
/// whoever has the file alone samples as in training.
///
/// # Errors
/// [`DiffusionError::TensorFile`].
pub fn save_conditioned(
    path: &Path,
    network: &Network,
    parameters: &Parameters,
    condition: &Condition,
) -> Result<(), DiffusionError> {
    let prior = match condition {
        Condition::None => None,
        Condition::Ids { counts, .. } => {
            let counts: Vec<String> = counts.iter().map(i64::to_string).collect();
            Some(counts.join(","))
        }
        Condition::Vectors { .. } => Some(VECTORS.to_owned()),
    };
    let note = prior.as_deref().map(|prior| (PRIOR, prior));
    write(path, network, parameters, note)
}

/// Writes a network's weights with upstream names, and the [`SIGMA_DATA`] they were trained for.
///
/// # Errors
/// [`DiffusionError::TensorFile`].
pub fn save(path: &Path, network: &Network, parameters: &Parameters) -> Result<(), DiffusionError> {
    write(path, network, parameters, None)
}

fn write(
    path: &Path,
    network: &Network,
    parameters: &Parameters,
    note: Option<(&str, &str)>,
) -> Result<(), DiffusionError> {
    let tensors = parameters.tensors(&network.layout);
    let names = network
        .layout
        .entries
        .iter()
        .map(|entry| entry.name.as_str());
    let named: Vec<(&str, &Tensor)> = names.zip(&tensors).collect();
    let sigma_data = network.architecture.sigma_data.to_string();
    let notes: Vec<(&str, &str)> = note
        .into_iter()
        .chain([(SIGMA_DATA, &*sigma_data)])
        .collect();
    tensor_files::write(path, &named, &notes)?;
    Ok(())
}

//! Weight files of the diffusion network: upstream names in safetensors, checked against the architecture, or the
//! architecture recognised from them.

use crate::{DiffusionError, architecture::Architecture, layout::Layout, network::Network, parameters::Parameters};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};
use tch::{Device, Kind, Tensor};

/// Prefixes that wrappers put before the upstream names.
const PREFIXES: [&str; 3] = ["module.", "ema.", "net."];

/// Tensors by upstream name: wrappers' prefixes are stripped, and `model.` is added where only the inner network was stored.
pub fn upstream_names(tensors: &HashMap<String, Tensor>) -> HashMap<String, &Tensor> {
    let strip = |name: &str| {
        let mut name = name;
        while let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            name = rest;
        }
        name.to_owned()
    };
    let stripped: HashMap<String, &Tensor> = tensors.iter().map(|(name, tensor)| (strip(name), tensor)).collect();
    if stripped.keys().any(|name| name.starts_with("model.")) {
        return stripped;
    }
    stripped
        .into_iter()
        .map(|(name, tensor)| (format!("model.{name}"), tensor))
        .collect()
}

/// What is missing, unexpected or of another shape, for people; `None` when all fits.
pub fn difference(layout: &Layout, tensors: &HashMap<String, &Tensor>) -> Option<String> {
    let wanted: BTreeMap<&str, &[i64]> = layout
        .entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.shape.as_slice()))
        .collect();
    let found: BTreeSet<&str> = tensors.keys().map(String::as_str).collect();
    let missing: Vec<&str> = wanted.keys().copied().filter(|name| !found.contains(name)).collect();
    let unexpected: Vec<&str> = found.iter().copied().filter(|name| !wanted.contains_key(name)).collect();
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
        (!items.is_empty()).then(|| format!("{} {what}: {}{more}", items.len(), items[..items.len().min(4)].join(", ")))
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

/// The architecture that a state dict belongs to, read off its names and shapes. Dropout is 0 and sigma_data 0.5: weights do
/// not say, and sampling needs neither.
///
/// # Errors
/// [`DiffusionError::Weights`] when the names are not those of a SongUNet.
pub fn recognise(tensors: &HashMap<String, Tensor>, origin: &str) -> Result<Architecture, DiffusionError> {
    let named = upstream_names(tensors);
    let refuse = |difference: String| DiffusionError::Weights {
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
        .ok_or_else(|| refuse("1 missing: model.enc.<side>x<side>_conv.weight, by which a SongUNet is known".to_owned()))?;
    let first = size(&format!("model.enc.{resolution}x{resolution}_conv.weight")).unwrap_or_default();
    let layer0 = size("model.map_layer0.weight").ok_or_else(|| refuse("1 missing: model.map_layer0.weight".to_owned()))?;
    if first.len() != 4 || layer0.len() != 2 || first[0] == 0 || layer0[1] == 0 {
        return Err(refuse(format!(
            "first convolution {first:?} and map_layer0 {layer0:?} have the wrong number of axes"
        )));
    }
    let (model_channels, channels) = (first[0], first[1]);
    let (mut channel_mult, mut num_blocks, mut attn_resolutions) = (Vec::new(), 0, Vec::new());
    let mut side = resolution;
    while let Some(shape) = size(&format!("model.enc.{side}x{side}_block0.conv0.weight")) {
        channel_mult.push(shape[0] / model_channels);
        num_blocks = (0..)
            .take_while(|index| named.contains_key(&format!("model.enc.{side}x{side}_block{index}.conv0.weight")))
            .count() as i64;
        if named.contains_key(&format!("model.enc.{side}x{side}_block0.qkv.weight")) {
            attn_resolutions.push(side);
        }
        side /= 2;
    }
    let filter = named
        .iter()
        .find(|(name, _)| name.ends_with("resample_filter"))
        .map_or(2, |(_, tensor)| tensor.size()[2]);
    let architecture = Architecture {
        resolution,
        channels,
        label_dim: size("model.map_label.weight").map_or(0, |shape| shape[1]),
        augment_dim: size("model.map_augment.weight").map_or(0, |shape| shape[1]),
        model_channels,
        channel_mult,
        channel_mult_emb: layer0[0] / model_channels,
        channel_mult_noise: layer0[1] / model_channels,
        num_blocks,
        attn_resolutions,
        dropout: 0.0,
        label_dropout: 0.0,
        fourier: named.contains_key("model.map_noise.freqs"),
        residual_encoder: named.keys().any(|name| name.contains("_aux_residual")),
        resample_filter: if filter == 4 { vec![1.0, 3.0, 3.0, 1.0] } else { vec![1.0, 1.0] },
        sigma_data: 0.5,
    };
    let network = Network::new(architecture)?;
    match difference(&network.layout, &named) {
        None => Ok(network.architecture),
        Some(difference) => Err(refuse(difference)),
    }
}

/// All tensors of a safetensors file, on the CPU.
///
/// # Errors
/// [`DiffusionError::File`].
pub fn read(path: &Path) -> Result<HashMap<String, Tensor>, DiffusionError> {
    let file_error = |reason: String| DiffusionError::File {
        action: "read",
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|error| file_error(error.to_string()))?;
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|error| file_error(format!("not a safetensors file: {error}")))?;
    let mut tensors = HashMap::new();
    for (name, view) in file.iter() {
        let kind = kind_of(view.dtype()).ok_or_else(|| file_error(format!("tensor {name} has unsupported type {:?}", view.dtype())))?;
        let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
        tensors.insert(name.to_owned(), Tensor::f_from_data_size(view.data(), &shape, kind)?);
    }
    Ok(tensors)
}

/// The string metadata of a safetensors file.
///
/// # Errors
/// [`DiffusionError::File`].
pub fn read_metadata(path: &Path) -> Result<HashMap<String, String>, DiffusionError> {
    let file_error = |reason: String| DiffusionError::File {
        action: "read",
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|error| file_error(error.to_string()))?;
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).map_err(|error| file_error(error.to_string()))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// Writes tensors as safetensors: to a file beside `path`, then renamed, so that no reader ever sees half of it. Bytes depend
/// on names, values and `note` alone.
///
/// # Errors
/// [`DiffusionError::File`].
pub fn write(path: &Path, tensors: &[(&str, &Tensor)], note: Option<(&str, &str)>) -> Result<(), DiffusionError> {
    let file_error = |reason: String| DiffusionError::File {
        action: "write",
        path: path.to_owned(),
        reason,
    };
    let bytes: Vec<(&str, safetensors::Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
            let dtype = dtype_of(tensor.kind()).ok_or_else(|| file_error(format!("tensor {name} has type {:?}", tensor.kind())))?;
            let mut data = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
            tensor.f_copy_data_u8(&mut data, tensor.numel())?;
            Ok((*name, dtype, tensor.size().iter().map(|&side| side as usize).collect(), data))
        })
        .collect::<Result<_, DiffusionError>>()?;
    let views: Vec<(&str, safetensors::tensor::TensorView<'_>)> = bytes
        .iter()
        .map(|(name, dtype, shape, data)| {
            Ok((
                *name,
                safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).map_err(|e| file_error(e.to_string()))?,
            ))
        })
        .collect::<Result<_, DiffusionError>>()?;
    let metadata = note.map(|(key, value)| HashMap::from([(key.to_owned(), value.to_owned())]));
    let encoded = safetensors::serialize(views, metadata).map_err(|error| file_error(error.to_string()))?;
    let partial = path.with_extension("partial");
    std::fs::write(&partial, encoded)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|error| file_error(error.to_string()))
}

/// Writes a network's weights with upstream names.
///
/// # Errors
/// [`DiffusionError::File`].
pub fn save(path: &Path, layout: &Layout, parameters: &Parameters) -> Result<(), DiffusionError> {
    let tensors = parameters.tensors(layout);
    let named: Vec<(&str, &Tensor)> = layout.entries.iter().map(|entry| entry.name.as_str()).zip(&tensors).collect();
    write(path, &named, None)
}

fn kind_of(dtype: safetensors::Dtype) -> Option<Kind> {
    use safetensors::Dtype;
    Some(match dtype {
        Dtype::U8 => Kind::Uint8,
        Dtype::I8 => Kind::Int8,
        Dtype::I16 => Kind::Int16,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        Dtype::BOOL => Kind::Bool,
        _ => return None,
    })
}

fn dtype_of(kind: Kind) -> Option<safetensors::Dtype> {
    use safetensors::Dtype;
    Some(match kind {
        Kind::Uint8 => Dtype::U8,
        Kind::Int8 => Dtype::I8,
        Kind::Int16 => Dtype::I16,
        Kind::Int => Dtype::I32,
        Kind::Int64 => Dtype::I64,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Float => Dtype::F32,
        Kind::Double => Dtype::F64,
        Kind::Bool => Dtype::BOOL,
        _ => return None,
    })
}

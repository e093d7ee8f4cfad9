//! Weight files as named tensors: safetensors, PyTorch zip files and legacy streams, all read as
//! data.

mod digest;
mod legacy;
mod loading;
mod names;
mod plain;
mod rebuild;
mod select;
mod storages;
mod zipped;

pub use digest::size_and_digest;
pub use loading::{Loading, blueprint};
pub use select::Encoder;

use crate::NetError;
use cedm_tensor_files::open_file;
use cedm_torch::tensor_files;
use std::{collections::BTreeMap, io::Read, path::Path};
use tch::{Device, Kind, Tensor};

/// Named tensors. Nested dictionaries of a file appear as names joined by dots.
#[derive(Debug, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
    /// Tensors of a kind that is not read, by name, with the reason.
    unread: BTreeMap<String, String>,
    /// What each object that was pickled whole says of itself, by its name in the file.
    origins: BTreeMap<String, Origin>,
    /// Whether the file is one of safetensors.
    safetensors: bool,
}

/// What an object that was pickled whole says of itself (EDM's snapshots): the name of its class,
/// and those of its attributes and of its constructor's arguments that are there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// Name of the class, `EDMPrecond`.
    pub class: String,
    /// Class of the network inside, `SongUNet`.
    pub model_type: Option<String>,
    /// Height and width of the images.
    pub img_resolution: Option<i64>,
    /// Channels of the images.
    pub img_channels: Option<i64>,
    /// Width of the labels, 0 for none.
    pub label_dim: Option<i64>,
    /// Expected standard deviation of the data.
    pub sigma_data: Option<f64>,
    /// Lowest noise level that the network takes.
    pub sigma_min: Option<f64>,
    /// Highest noise level that the network takes.
    pub sigma_max: Option<f64>,
}

impl Weights {
    /// Every tensor of a file, on the CPU. The first bytes tell the format; entries of a PyTorch
    /// file that are not tensors are left out.
    ///
    /// # Errors
    /// [`NetError::File`] or [`NetError::TensorFile`] when the file cannot be read, is truncated,
    /// empty, or in none of the formats.
    pub fn read(path: &Path) -> Result<Self, NetError> {
        let mut head = Vec::new();
        let file = open_file(path).map_err(NetError::io("read", path))?;
        file.take(64)
            .read_to_end(&mut head)
            .map_err(NetError::io("read", path))?;
        let format = |reason| NetError::format(path, reason);
        let weights: Self = if head.starts_with(b"PK\x03\x04") {
            zipped::read(path).map_err(format)?
        } else if legacy::is_legacy(&head) {
            legacy::read(path).map_err(format)?
        } else if head.get(8) == Some(&b'{') {
            let tensors = tensor_files::read(path)?.into_iter();
            Self {
                safetensors: true,
                ..tensors.collect()
            }
        } else if plain::is_pickle(&head) {
            plain::read(path).map_err(format)?
        } else {
            return Err(NetError::format(
                path,
                "not a safetensors file, nor a PyTorch file (zip or legacy), nor a pickle",
            ));
        };
        if weights.is_empty() {
            let reason = match weights.unread.iter().next() {
                None => "no tensor in this file".to_owned(),
                Some((name, reason)) => format!("no tensor that is read: `{name}`: {reason}"),
            };
            return Err(NetError::format(path, reason));
        }
        Ok(weights)
    }

    /// Why a tensor of this name is not among those that were read, where the file has one of a
    /// kind that is not supported (quantised, sparse, complex).
    pub fn unread(&self, name: &str) -> Option<&str> {
        self.unread.get(name).map(String::as_str)
    }
    /// What the object of this name in the file (`ema`, empty for the whole) says of itself, where
    /// it was pickled whole. Renaming tensors does not rename it.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.origins.get(name)
    }
    /// Whether they come from a safetensors file, the one format that has metadata.
    pub fn is_safetensors(&self) -> bool {
        self.safetensors
    }
    /// Names in byte order, with their tensors.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
    }
    /// Number of tensors in the set.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }
    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }
    /// Adds a tensor, in place of one with the same name.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }
    /// Removes the tensor with this name and returns it.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }
    /// The tensors whose names `rename` keeps, under the names it gives.
    pub fn renamed(&self, rename: impl Fn(&str) -> Option<String>) -> Self {
        let tensors = self.tensors.iter();
        let unread = self.unread.iter();
        Self {
            tensors: tensors
                .filter_map(|(name, tensor)| Some((rename(name)?, tensor.shallow_clone())))
                .collect(),
            unread: unread
                .filter_map(|(name, reason)| Some((rename(name)?, reason.clone())))
                .collect(),
            origins: self.origins.clone(),
            safetensors: self.safetensors,
        }
    }
    /// The tensors below `prefix`, without it.
    pub fn below(&self, prefix: &str) -> Self {
        self.renamed(|name| name.strip_prefix(prefix).map(str::to_owned))
    }
    /// Starts loading these weights into a network of the given precision on `device`.
    pub fn load(&self, kind: Kind, device: Device) -> Loading<'_> {
        Loading::new(self, kind, device)
    }
}

impl FromIterator<(String, Tensor)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(all: I) -> Self {
        Self {
            tensors: all.into_iter().collect(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;

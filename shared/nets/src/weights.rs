//! Weight files as named tensors: safetensors, PyTorch zip files and legacy streams, all read as
//! data.

mod legacy;
mod loading;
mod rebuild;
mod select;
mod zipped;

pub use loading::{Loading, blueprint};
pub use select::Encoder;

use crate::NetError;
use cedm_torch::tensor_files;
use std::{collections::BTreeMap, fs::File, io::Read, path::Path};
use tch::{Device, Kind, Tensor};

/// Named tensors. Nested dictionaries of a file appear as names joined by dots.
#[derive(Debug, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Every tensor of a file, on the CPU. The first bytes tell the format; entries of a PyTorch
    /// file that are not tensors are left out.
    ///
    /// # Errors
    /// [`NetError::Io`] or [`NetError::TensorFile`] when the file cannot be read,
    /// [`NetError::Format`] when it is truncated, empty, or none of the three formats.
    pub fn read(path: &Path) -> Result<Self, NetError> {
        let mut head = Vec::new();
        let file = File::open(path).map_err(NetError::io("read", path))?;
        file.take(64)
            .read_to_end(&mut head)
            .map_err(NetError::io("read", path))?;
        let format = |reason| NetError::format(path, reason);
        let tensors = if head.starts_with(b"PK\x03\x04") {
            zipped::read(path).map_err(format)?
        } else if legacy::is_legacy(&head) {
            legacy::read(path).map_err(format)?
        } else if head.get(8) == Some(&b'{') {
            tensor_files::read(path)?.into_iter().collect()
        } else {
            return Err(NetError::format(
                path,
                "not a safetensors file, nor a PyTorch file (zip or legacy)",
            ));
        };
        if tensors.is_empty() {
            return Err(NetError::format(path, "no tensor in this file"));
        }
        Ok(Self { tensors })
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
        self.iter()
            .filter_map(|(name, tensor)| Some((rename(name)?, tensor.shallow_clone())))
            .collect()
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
        }
    }
}

#[cfg(test)]
mod tests;

//! Pickles that are no file of PyTorch's own: EDM's `network-snapshot-*.pkl`, in which each storage
//! is a file of its own inside the pickle.

use super::{
    Contents,
    rebuild::{Storages, build, inline_storage, tensors_of},
};
use cedm_images::pickle::Pickle;
use std::path::Path;

/// Whether a file that begins with these bytes is a pickle of protocol 2 or later.
pub(super) fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, ..])
}

/// Reads all tensors of the file by name.
///
/// # Errors
/// When the file is no pickle, is truncated, or a tensor lies outside it.
pub(super) fn read(path: &Path) -> Result<Contents, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let pickle = Pickle::read(&bytes).map_err(|error| error.to_string())?;
    let found = tensors_of(&pickle)?;
    let mut storages = Storages::new();
    for tensor in &found.tensors {
        let key = &tensor.storage.key;
        if !storages.contains_key(key) {
            let id = tensor.storage.inline;
            let id = id.ok_or_else(|| format!("storage {key} lies outside the pickle"))?;
            storages.insert(key.clone(), inline_storage(&pickle, id)?);
        }
    }
    Ok(Contents {
        tensors: build(found.tensors, &storages)?,
        unread: found.unread,
        origin: found.origin,
    })
}

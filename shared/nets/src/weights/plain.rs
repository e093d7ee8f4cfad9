//! Pickles that are no file of PyTorch's own: EDM's `network-snapshot-*.pkl`, in which each storage
//! is a file of its own inside the pickle.

use super::{Weights, rebuild::weights_of};
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
pub(super) fn read(path: &Path) -> Result<Weights, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let pickle = Pickle::read(&bytes).map_err(|error| error.to_string())?;
    weights_of(&pickle, |name| {
        Err(format!("storage {} lies outside the pickle", name.key))
    })
}

//! Pickles that are no file of PyTorch's own: EDM's `network-snapshot-*.pkl`, in which each storage
//! is a file of its own inside the pickle.

use super::{Weights, legacy::whole, rebuild::weights_of};
use cedm_images::pickle::Pickle;
use cedm_tensor_files::open_file;
use std::{io::Read, path::Path};

/// Whether a file that begins with these bytes is a pickle of protocol 2 or later.
pub(super) fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, ..])
}

/// Bytes of a file that are read before all of it is.
const START: u64 = 16 << 20;

/// Refuses a file that is no pickle from its first bytes on, before gigabytes of it are in memory.
fn begins_well(path: &Path) -> Result<(), String> {
    let mut start = Vec::new();
    let file = open_file(path).map_err(|error| error.to_string())?;
    let read = file.take(START).read_to_end(&mut start);
    read.map_err(|error| error.to_string())?;
    match Pickle::read(&start) {
        Err(error) if !error.ends_early() => Err(error.to_string()),
        Err(_) | Ok(_) => Ok(()),
    }
}

/// Reads all tensors of the file by name.
///
/// # Errors
/// When the file is no pickle, is truncated, or a tensor lies outside it.
pub(super) fn read(path: &Path) -> Result<Weights, String> {
    begins_well(path)?;
    let bytes = whole(path)?;
    let pickle = Pickle::read(&bytes).map_err(|error| error.to_string())?;
    weights_of(&pickle, |name| {
        Err(format!("storage {} lies outside the pickle", name.key))
    })
}

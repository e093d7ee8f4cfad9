//! PyTorch files since 1.6: zip archives with `<prefix>/data.pkl` and one entry per storage.

use super::{Weights, rebuild::weights_of, storages::storage};
use cedm_images::pickle::Pickle;
use cedm_tensor_files::open_file;
use std::{io::Read, path::Path};

/// Reads all tensors of the file by name.
///
/// # Errors
/// When the file is not such an archive, is truncated, or holds a type that is not supported.
pub(super) fn read(path: &Path) -> Result<Weights, String> {
    let file = open_file(path).map_err(|error| error.to_string())?;
    let mut left = file.metadata().map_err(|error| error.to_string())?.len();
    let mut archive = cedm_images::open_zip(&file)
        .map_err(|error| format!("not a readable zip archive: {error} (truncated?)"))?;
    let names: Vec<String> = archive
        .file_names()
        .filter_map(|name| name.ok().map(|name| name.to_string()))
        .collect();
    let Some(prefix) = names
        .iter()
        .find_map(|name| name.strip_suffix("/data.pkl"))
        .map(str::to_owned)
    else {
        return Err("not a PyTorch file: the zip archive has no `data.pkl`".to_owned());
    };
    let mut entry_bytes = |name: &str| -> Result<Vec<u8>, String> {
        let entry = archive
            .by_name(&format!("{prefix}/{name}"))
            .map_err(|error| format!("`{name}`: {error}"))?;
        // PyTorch stores its entries uncompressed, so that together they are no larger than the
        // file; a small archive that expands to gigabytes is rejected.
        let mut bytes = Vec::new();
        entry
            .take(left + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("`{name}`: {error}"))?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            format!("the entries to `{name}` are larger than the file that contains them")
        })?;
        Ok(bytes)
    };
    if names.contains(&format!("{prefix}/byteorder")) && entry_bytes("byteorder")? != b"little" {
        return Err("written on a big-endian machine, which is not supported".to_owned());
    }
    let bytes = entry_bytes("data.pkl")?;
    let pickle = Pickle::read(&bytes).map_err(|error| error.to_string())?;
    weights_of(&pickle, |name| {
        let data = entry_bytes(&format!("data/{}", name.key))?;
        storage(&data, name.kind).map_err(|error| format!("storage {}: {error}", name.key))
    })
}

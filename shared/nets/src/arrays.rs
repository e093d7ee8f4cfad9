//! Arrays of numbers that people bring in files: features, ids and labels, as npy, npz,
//! safetensors, or a file of PyTorch.

use crate::{NetError, Weights};
use cedm_tensor_files::{NPY_MAGIC, open_file};
use cedm_torch::npy;
use std::{
    io::{BufReader, Read, Seek},
    path::Path,
};
use tch::{Kind, Tensor};

/// Bytes that the arrays of an npz file may always expand to: each is in memory twice for a moment.
const EXPANDED: u64 = 256 << 20;

/// The array of this name, with its name.
///
/// # Errors
/// When the file cannot be read, is truncated, or has no such array.
pub fn named_array(path: &Path, name: &str) -> Result<(String, Tensor), NetError> {
    let arrays = read(path)?;
    let position = arrays.iter().position(|(found, _)| found == name);
    choose(path, arrays, position, name)
}

/// The first of these names that a file has an array of, or its only array; with its name.
///
/// # Errors
/// When the file cannot be read, is truncated, or it is not clear which array is meant.
pub fn array(path: &Path, names: &[&str]) -> Result<(String, Tensor), NetError> {
    let arrays = read(path)?;
    let position = names
        .iter()
        .find_map(|name| arrays.iter().position(|(found, _)| found == name))
        .or((arrays.len() == 1).then_some(0));
    choose(path, arrays, position, &names.join("` or `"))
}

/// One integer per image: the array that [`array()`] chooses, of shape \[n\] or \[n, 1\], of
/// integers or whole floats.
///
/// # Errors
/// As [`array()`], and for an array of another shape or of other numbers.
pub fn integers(path: &Path, names: &[&str]) -> Result<Vec<i64>, NetError> {
    let (found, tensor) = array(path, names)?;
    let size = tensor.size();
    let is_column = tensor.numel() > 0 && size.iter().max() == Some(&(tensor.numel() as i64));
    let whole = tensor.to_kind(Kind::Int64);
    if !is_column || tensor.to_kind(Kind::Double) != whole.to_kind(Kind::Double) {
        let reason = format!(
            "`{found}` is {:?} {size:?}, expected one integer per image",
            tensor.kind()
        );
        return Err(NetError::format(path, reason));
    }
    Ok(Vec::<i64>::try_from(whole.flatten(0, -1))?)
}

fn choose(
    path: &Path,
    mut arrays: Vec<(String, Tensor)>,
    position: Option<usize>,
    wanted: &str,
) -> Result<(String, Tensor), NetError> {
    if let Some(position) = position {
        return Ok(arrays.swap_remove(position));
    }
    let names: Vec<String> = arrays.into_iter().map(|(name, _)| name).collect();
    let reason = format!("array `{wanted}` not found, the file has {names:?}");
    Err(NetError::format(path, reason))
}

/// Every array of a file with its name; the one of an npy file is called as the file.
fn read(path: &Path) -> Result<Vec<(String, Tensor)>, NetError> {
    let mut head = [0u8; 8];
    let mut file = open_file(path).map_err(NetError::io("read", path))?;
    let length = file
        .read(&mut head)
        .and_then(|length| file.rewind().map(|()| length))
        .map_err(NetError::io("read", path))?;
    if head[..length].starts_with(NPY_MAGIC) {
        let array = npy::read(BufReader::new(file))
            .map_err(|reason| NetError::format(path, format!("npy array: {reason}")))?;
        let stem = path.file_stem().unwrap_or_default();
        return Ok(vec![(stem.to_string_lossy().into_owned(), array)]);
    }
    let extension = path.extension().unwrap_or_default();
    if extension.eq_ignore_ascii_case("npz") {
        return read_npz(path);
    }
    let weights = Weights::read(path)?;
    let arrays = weights.iter().map(|(name, tensor)| {
        // A stride of 0 makes any shape of a few bytes: no features are stored so.
        if is_expanded(tensor) {
            let reason = format!(
                "`{name}` of shape {:?} repeats a few numbers (an expanded view)",
                tensor.size()
            );
            return Err(NetError::format(path, reason));
        }
        Ok((name.to_owned(), tensor.contiguous()))
    });
    arrays.collect()
}

/// Whether a tensor shows numbers of its storage more than once.
fn is_expanded(tensor: &Tensor) -> bool {
    let mut axes = tensor.size().into_iter().zip(tensor.stride());
    axes.any(|(size, stride)| size > 1 && stride == 0)
}

fn read_npz(path: &Path) -> Result<Vec<(String, Tensor)>, NetError> {
    let fail = |reason: String| NetError::format(path, format!("npz archive: {reason}"));
    let file = open_file(path).map_err(NetError::io("read", path))?;
    let about = file.metadata().map_err(NetError::io("read", path))?;
    let mut archive = cedm_images::open_zip(&file)
        .map_err(|error| fail(format!("not a zip archive (truncated?): {error}")))?;
    let mut arrays = Vec::new();
    // Features compress by some ten at most, bombs by a thousand.
    let packed = about.len();
    let most = cedm_images::Limits::default()
        .expanded_from(packed)
        .min(EXPANDED.max(packed.saturating_mul(32)));
    let mut left = most;
    for index in 0..archive.len() {
        let member = archive
            .by_index(index)
            .map_err(|error| fail(error.to_string()))?;
        left = left.checked_sub(member.size()).ok_or_else(|| {
            fail(format!(
                "its {packed} bytes expand to more than {most}: expand it, and give the npy file"
            ))
        })?;
        let name = member.name().map_err(|error| fail(error.to_string()))?;
        if let Some(name) = name.strip_suffix(".npy").map(str::to_owned) {
            let array =
                npy::read(member).map_err(|reason| fail(format!("array `{name}`: {reason}")))?;
            arrays.push((name, array));
        }
    }
    Ok(arrays)
}

//! Features and ids from plain files: safetensors, npy, npz, and PyTorch's own.

use anyhow::{Context, Result, anyhow, ensure};
use cedm_contract::kinds::{
    cluster::assignments::RAW_IDS, extract::features::FEATURES, import::shard::LABELS,
};
use cedm_nets::Weights;
use cedm_tensor_files::open_file;
use cedm_torch::npy;
use std::{
    collections::BTreeMap,
    io::{BufReader, Read, Seek},
    path::Path,
};
use tch::{Kind, Tensor};

/// Reads a feature matrix \[n, dim\] from a .safetensors, .npy, .npz or PyTorch file: the array `name`,
/// by default `features` or the only array.
///
/// # Errors
/// When the file cannot be read, is truncated, or has no such array.
pub fn read_features(path: &Path, name: Option<&str>) -> Result<Tensor> {
    let (found, tensor) = pick(read_arrays(path)?, name, FEATURES.name)
        .with_context(|| path.display().to_string())?;
    ensure!(
        tensor.size().len() == 2,
        "{}: `{found}` has shape {:?}, expected [rows, width]",
        path.display(),
        tensor.size()
    );
    Ok(tensor)
}

/// Reads cluster ids, one integer per image, from the same file formats, or from a folder in the
/// layout of the C-EDM authors: `cluster_ids.pt`, and `freq.pt` with the sizes of its clusters.
///
/// # Errors
/// When the file cannot be read, is truncated, or has no single vector of integers, or the sizes in
/// `freq.pt` are not those of the clusters.
pub fn read_ids(path: &Path) -> Result<Vec<i64>> {
    read_column(path, RAW_IDS.name)
}

/// Reads labels, one integer per image: the array `labels`, or the only array.
///
/// # Errors
/// As [`read_ids`].
pub fn read_labels(path: &Path) -> Result<Vec<i64>> {
    read_column(path, LABELS.name)
}

/// The vector of integers named `default`, or the only array of the file.
fn read_column(path: &Path, default: &str) -> Result<Vec<i64>> {
    if path.is_dir() {
        return read_folder(path);
    }
    let (found, tensor) =
        pick(read_arrays(path)?, None, default).with_context(|| path.display().to_string())?;
    let integers = matches!(
        tensor.kind(),
        Kind::Uint8 | Kind::Int8 | Kind::Int16 | Kind::Int | Kind::Int64
    );
    ensure!(
        integers && tensor.size().len() == 1,
        "{}: `{found}` is {:?} {:?}, expected one integer per image",
        path.display(),
        tensor.kind(),
        tensor.size()
    );
    Ok(Vec::<i64>::try_from(tensor.to_kind(Kind::Int64))?)
}

/// The ids in a folder of the C-EDM authors, checked against `freq.pt`, which holds the sizes of the
/// used clusters by ascending id (spec §4.6).
fn read_folder(folder: &Path) -> Result<Vec<i64>> {
    let ids = read_ids(&folder.join("cluster_ids.pt"))?;
    let counts = folder.join("freq.pt");
    if counts.exists() {
        let mut found: BTreeMap<i64, i64> = BTreeMap::new();
        ids.iter()
            .for_each(|id| *found.entry(*id).or_default() += 1);
        let (found, expected): (Vec<i64>, _) = (found.into_values().collect(), read_ids(&counts)?);
        ensure!(
            found == expected,
            "{} counts {} clusters of {} images, but `cluster_ids.pt` in the same folder has {} \
             clusters of {} images: the files belong to different clusterings",
            counts.display(),
            expected.len(),
            expected.iter().sum::<i64>(),
            found.len(),
            ids.len()
        );
    }
    Ok(ids)
}

/// The array `name`; without a name, the array `default` or the only one.
fn pick(
    mut arrays: Vec<(String, Tensor)>,
    name: Option<&str>,
    default: &str,
) -> Result<(String, Tensor)> {
    let names: Vec<String> = arrays.iter().map(|(name, _)| name.clone()).collect();
    let wanted = name.unwrap_or(default);
    let position = names.iter().position(|found| found == wanted);
    match position {
        Some(position) => Ok(arrays.swap_remove(position)),
        None if name.is_none() && arrays.len() == 1 => Ok(arrays.remove(0)),
        None => Err(anyhow!(
            "array `{wanted}` not found, the file has {names:?}"
        )),
    }
}

/// Every array of a file with its name.
fn read_arrays(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or("")
        .to_ascii_lowercase();
    let mut head = [0u8; 8];
    let mut file = open_file(path).with_context(|| format!("read {}", path.display()))?;
    let read = file.read(&mut head).and_then(|length| {
        file.rewind()?;
        Ok(length)
    });
    let length = read.with_context(|| format!("read {}", path.display()))?;
    if head[..length].starts_with(b"\x93NUMPY") {
        let array = npy::read(BufReader::new(file))
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("{}: npy array", path.display()))?;
        return Ok(vec![(
            path.file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            array,
        )]);
    }
    if extension == "npz" {
        return read_npz(path).with_context(|| format!("{}: npz archive", path.display()));
    }
    let weights = Weights::read(path)?;
    weights
        .iter()
        .map(|(name, tensor)| {
            // A stride of 0 makes any shape of a few bytes: no features are stored so.
            ensure!(
                !is_expanded(tensor),
                "{}: `{name}` of shape {:?} repeats a few numbers (an expanded view)",
                path.display(),
                tensor.size()
            );
            Ok((name.to_owned(), tensor.contiguous()))
        })
        .collect()
}

/// Whether a tensor shows numbers of its storage more than once.
fn is_expanded(tensor: &Tensor) -> bool {
    let axes = tensor.size().into_iter().zip(tensor.stride());
    axes.into_iter()
        .any(|(size, stride)| size > 1 && stride == 0)
}

/// Bytes that the arrays of an npz file may always expand to: each is in memory twice for a moment.
const EXPANDED: u64 = 256 << 20;

fn read_npz(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let file = open_file(path)?;
    let mut archive = cedm_images::open_zip(&file).context("not a zip archive (truncated?)")?;
    let mut arrays = Vec::new();
    // Features compress by some ten at most, bombs by a thousand.
    let packed = file.metadata()?.len();
    let most = cedm_images::Limits::default()
        .expanded_from(packed)
        .min(EXPANDED.max(packed.saturating_mul(32)));
    let mut left = most;
    for index in 0..archive.len() {
        let member = archive.by_index(index)?;
        left = left.checked_sub(member.size()).with_context(|| {
            format!(
                "its {packed} bytes expand to more than {most}: expand it, and give the npy file"
            )
        })?;

        let name = member.name()?.to_string();
        if let Some(name) = name.strip_suffix(".npy").map(str::to_owned) {
            arrays.push((
                name.clone(),
                npy::read(member)
                    .map_err(anyhow::Error::msg)
                    .with_context(|| format!("array `{name}`"))?,
            ));
        }
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use super::*;
    use npyz::WriterBuilder;
    use std::io::Write;

    fn npy<T: npyz::AutoSerialize + Copy>(
        shape: &[u64],
        order: npyz::Order,
        values: &[T],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(shape)
            .order(order)
            .writer(&mut bytes)
            .begin_nd()
            .unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        bytes
    }
    fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn every_file_format_gives_the_same_features() {
        let folder = tempfile::tempdir().unwrap();
        let expected = Tensor::from_slice2(&[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let row_major = npy(&[2, 3], npyz::Order::C, &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let column_major = npy(
            &[2, 3],
            npyz::Order::Fortran,
            &[1f32, 4.0, 2.0, 5.0, 3.0, 6.0],
        );
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        archive
            .start_file("other.npy", zip::write::SimpleFileOptions::default())
            .unwrap();
        archive
            .write_all(&npy(&[1], npyz::Order::C, &[1i32]))
            .unwrap();
        archive
            .start_file("features.npy", zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(&row_major).unwrap();
        let archive = archive.finish().unwrap().into_inner();
        let safetensors = folder.path().join("f.safetensors");
        cedm_torch::tensor_files::write(
            &safetensors,
            &[
                ("features", &expected),
                ("labels", &Tensor::from_slice(&[1i64, 2])),
            ],
            &[],
        )
        .unwrap();
        for path in [
            file(&folder, "a.npy", &row_major),
            file(&folder, "b.npy", &column_major),
            file(&folder, "c.npz", &archive),
            safetensors,
        ] {
            assert!(
                read_features(&path, None).unwrap().equal(&expected),
                "{}",
                path.display()
            );
        }
        let half = folder.path().join("half.safetensors");
        cedm_torch::tensor_files::write(&half, &[("x", &expected.to_kind(Kind::Half))], &[])
            .unwrap();
        assert!(
            read_features(&half, None)
                .unwrap()
                .to_kind(Kind::Float)
                .equal(&expected)
        );
    }

    fn check(bytes: &[u8], name: &str, expect: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder, name, bytes);
        let error = format!("{:#}", read_features(&path, None).unwrap_err());
        assert!(error.contains(name) && error.contains(expect), "{error}");
    }

    #[test]
    fn an_error_names_the_broken_file() {
        let whole = npy(&[2, 3], npyz::Order::C, &[0f32; 6]);
        check(
            &whole[..whole.len() - 4],
            "cut.npy",
            "found 20 bytes of numbers, expected 24: truncated?",
        );
        check(
            &npy(&[6], npyz::Order::C, &[0f32; 6]),
            "flat.npy",
            "has shape [6], expected [rows, width]",
        );
        check(b"PK\x03\x04 and no more", "cut.npz", "truncated?");
        check(b"hello", "text.safetensors", "not a safetensors file");
        check(b"", "empty.npy", "");
    }

    #[test]
    fn ids_are_integers() {
        let folder = tempfile::tempdir().unwrap();
        let ids = file(
            &folder,
            "ids.npy",
            &npy(&[3], npyz::Order::C, &[3i16, 0, 7]),
        );
        assert_eq!(read_ids(&ids).unwrap(), [3, 0, 7]);
        let floats = file(
            &folder,
            "floats.npy",
            &npy(&[3], npyz::Order::C, &[3f32, 0.0, 7.0]),
        );
        let error = format!("{:#}", read_ids(&floats).unwrap_err());
        assert!(
            error.contains("is Float [3], expected one integer per image"),
            "{error}"
        );
    }
}

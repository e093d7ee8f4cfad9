//! Numbers per image from files: npy, safetensors, and PyTorch files read as data.

use anyhow::{Context, anyhow, bail, ensure};
use cedm_contract::kinds::{
    cluster::assignments::IDS, extract::features::FEATURES, import::shard::LABELS,
};
use cedm_images::VECTORS_TENSOR;
use std::path::Path;
use tch::{Kind, Tensor};

/// One integer per image.
///
/// # Errors
/// When the file cannot be read, or holds no single list of whole numbers.
pub fn read_ids(path: &Path) -> anyhow::Result<Vec<i64>> {
    let tensor = read_tensor(path, &[IDS.name, LABELS.name, "cluster_ids"])?;
    ensure!(
        tensor.numel() > 0 && tensor.numel() as i64 == tensor.size().into_iter().max().unwrap_or(0),
        "{} has shape {:?}: expected one id per image",
        path.display(),
        tensor.size()
    );
    let rounded = tensor.to_kind(Kind::Int64);
    ensure!(
        tensor.to_kind(Kind::Double) == rounded.to_kind(Kind::Double),
        "{} holds numbers that are not whole",
        path.display()
    );
    Ok(Vec::<i64>::try_from(rounded.flatten(0, -1))?)
}

/// One vector per image, [n, d] float32.
///
/// # Errors
/// When the file cannot be read, or holds no matrix.
pub fn read_vectors(path: &Path) -> anyhow::Result<Tensor> {
    let tensor = read_tensor(path, &[FEATURES.name, VECTORS_TENSOR.name])?;
    ensure!(
        tensor.size().len() == 2,
        "{} has shape {:?}: expected [images, width]",
        path.display(),
        tensor.size()
    );
    Ok(tensor.to_kind(Kind::Float))
}

/// The only tensor of a file, or the one with a known name.
///
/// # Errors
/// When the file cannot be read, or it is not clear which tensor is meant.
pub fn read_tensor(path: &Path, names: &[&str]) -> anyhow::Result<Tensor> {
    if path.extension().is_some_and(|extension| extension == "npy") {
        return read_npy(path);
    }
    let file =
        cedm_nets::Weights::read(path).with_context(|| format!("read {}", path.display()))?;
    if let Some(tensor) = names.iter().find_map(|name| file.get(name)) {
        return Ok(tensor.shallow_clone());
    }
    let mut all = file.iter();
    match (all.next(), all.next()) {
        (Some((_, tensor)), None) => Ok(tensor.shallow_clone()),
        _ => bail!(
            "{} holds {} tensors: expected one, or one of the names {}",
            path.display(),
            file.len(),
            names.join(", ")
        ),
    }
}

fn read_npy(path: &Path) -> anyhow::Result<Tensor> {
    let file =
        cedm_tensor_files::open_file(path).with_context(|| format!("read {}", path.display()))?;
    let array = cedm_torch::npy::read(std::io::BufReader::new(file));
    let array = array.map_err(|reason| anyhow!("{}: {reason}", path.display()))?;
    Ok(array.to_kind(tch::Kind::Double))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_contract::kinds::cluster::assignments::PRIOR;
    use npyz::WriterBuilder;

    fn write_npy(path: &Path, values: &[i16]) {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&[values.len() as u64])
            .writer(&mut bytes)
            .begin_nd()
            .unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn ids_come_from_npy_and_from_assignments() {
        let folder = tempfile::tempdir().unwrap();
        let npy = folder.path().join("ids.npy");
        write_npy(&npy, &[5, 0, 5]);
        assert_eq!(read_ids(&npy).unwrap(), [5, 0, 5]);
        let assignments = folder.path().join("clustering.safetensors");
        let (ids, prior) = (
            Tensor::from_slice(&[1i64, 0, 1]),
            Tensor::from_slice(&[0.3, 0.7]),
        );
        cedm_torch::tensor_files::write(
            &assignments,
            &[(IDS.name, &ids), (PRIOR.name, &prior)],
            &[],
        )
        .unwrap();
        assert_eq!(read_ids(&assignments).unwrap(), [1, 0, 1]);
    }

    #[test]
    fn an_error_names_a_file_that_is_not_a_list_of_ids() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two.safetensors");
        let (a, b) = (Tensor::from_slice(&[1i64]), Tensor::from_slice(&[0.5f32]));
        cedm_torch::tensor_files::write(&path, &[("a", &a), ("b", &b)], &[]).unwrap();
        assert!(
            read_ids(&path)
                .unwrap_err()
                .to_string()
                .contains("holds 2 tensors")
        );
        cedm_torch::tensor_files::write(&path, &[("b", &b)], &[]).unwrap();
        assert!(
            read_ids(&path)
                .unwrap_err()
                .to_string()
                .contains("not whole")
        );
        cedm_torch::tensor_files::write(
            &path,
            &[("b", &Tensor::zeros([2, 3], (Kind::Int64, tch::Device::Cpu)))],
            &[],
        )
        .unwrap();
        assert!(
            read_ids(&path)
                .unwrap_err()
                .to_string()
                .contains("one id per image")
        );
    }
}

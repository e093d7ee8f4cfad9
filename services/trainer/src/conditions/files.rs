//! Numbers per image from files: npy, safetensors, and PyTorch files read as data.

use anyhow::ensure;
use cedm_contract::kinds::{
    cluster::assignments::IDS, extract::features::FEATURES, import::shard::LABELS,
};
use cedm_images::VECTORS_TENSOR;
use cedm_nets::arrays;
use std::path::Path;
use tch::{Kind, Tensor};

/// One integer per image.
///
/// # Errors
/// When the file cannot be read, or holds no single list of whole numbers.
pub fn read_ids(path: &Path) -> anyhow::Result<Vec<i64>> {
    Ok(arrays::integers(
        path,
        &[IDS.name, LABELS.name, "cluster_ids"],
    )?)
}

/// One vector per image, [n, d] float32.
///
/// # Errors
/// When the file cannot be read, or holds no matrix.
pub fn read_vectors(path: &Path) -> anyhow::Result<Tensor> {
    let (_, tensor) = arrays::array(path, &[FEATURES.name, VECTORS_TENSOR.name])?;
    ensure!(
        tensor.size().len() == 2,
        "{} has shape {:?}: expected [images, width]",
        path.display(),
        tensor.size()
    );
    Ok(tensor.to_kind(Kind::Float))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_contract::kinds::cluster::assignments::PRIOR;

    #[test]
    fn ids_come_from_npy_and_from_assignments() {
        let folder = tempfile::tempdir().unwrap();
        let npy = folder.path().join("ids.npy");
        cedm_tensor_files::write_npy(&npy, &[3], &[5i32, 0, 5]).unwrap();
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
                .contains("the file has [\"a\", \"b\"]")
        );
        cedm_torch::tensor_files::write(&path, &[("b", &b)], &[]).unwrap();
        assert!(
            read_ids(&path)
                .unwrap_err()
                .to_string()
                .contains("expected one integer per image")
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
                .contains("expected one integer per image")
        );
    }
}

//! Tensors of libtorch in tensor files (safetensors), of every type that both sides know.

use cedm_tensor_files::{Dtype, TensorFile, TensorFileError, View, write as write_file};
use std::{borrow::Cow, collections::HashMap, path::Path};
use tch::{Device, Kind, Tensor};

/// All tensors of a file by name, on the CPU.
///
/// # Errors
/// The errors of [`TensorFile::open`] and [`tensor`].
pub fn read(path: &Path) -> Result<HashMap<String, Tensor>, TensorFileError> {
    tensors(&TensorFile::open(path)?)
}

/// One tensor of a file, on the CPU; the others are not read.
///
/// # Errors
/// The errors of [`TensorFile::open`] and [`tensor`].
pub fn read_one(path: &Path, name: &str) -> Result<Tensor, TensorFileError> {
    tensor(&TensorFile::open(path)?, name)
}

/// All tensors of an open file by name, on the CPU.
///
/// # Errors
/// The errors of [`tensor`].
pub fn tensors(file: &TensorFile<'_>) -> Result<HashMap<String, Tensor>, TensorFileError> {
    let names = file.names().into_iter();
    names
        .map(|name| tensor(file, &name).map(|tensor| (name, tensor)))
        .collect()
}

/// One tensor of an open file, on the CPU, in the file's type and shape.
///
/// # Errors
/// [`TensorFileError::Missing`] where there is none of this name, [`TensorFileError::Unexpected`]
/// for a type that libtorch does not have, [`TensorFileError::Io`].
pub fn tensor(file: &TensorFile<'_>, name: &str) -> Result<Tensor, TensorFileError> {
    let entry = file.require(name)?;
    let kind = kind_of(entry.dtype)
        .ok_or_else(|| file.unexpected(name, "bool, a float or an integer of at most 64 bits"))?;
    // A checked header holds no side beyond i64.
    let shape: Vec<i64> = entry.shape.iter().map(|&side| side as i64).collect();
    Tensor::f_from_data_size(&file.bytes(name)?, &shape, kind)
        .map_err(|error| file.unexpected(name, format!("a tensor that libtorch takes: {error}")))
}

/// Writes tensors from any device, atomically; `notes` are the file's string metadata. Bytes
/// depend on names, numbers and notes alone.
///
/// # Errors
/// [`TensorFileError::Unexpected`] for a type that the format does not have (complex, quantised),
/// and the errors of [`cedm_tensor_files::write`].
pub fn write<S: AsRef<str>, T: AsRef<Tensor>>(
    path: &Path,
    tensors: &[(S, T)],
    notes: &[(&str, &str)],
) -> Result<(), TensorFileError> {
    let views = tensors.iter().map(|(name, tensor)| {
        let (name, tensor) = (name.as_ref(), tensor.as_ref());
        let dtype = dtype_of(tensor.kind()).ok_or_else(|| TensorFileError::Unexpected {
            file: path.to_owned(),
            name: name.to_owned(),
            found: format!("{:?} {:?}", tensor.kind(), tensor.size()),
            expected: "bool, a float or an integer of at most 64 bits".to_owned(),
        })?;
        let shape = tensor.size().iter().map(|&side| side as usize).collect();
        Ok((
            name,
            TorchView {
                tensor,
                dtype,
                shape,
            },
        ))
    });
    write_file(path, &views.collect::<Result<Vec<_>, _>>()?, notes)
}

/// The type in a file as libtorch's.
pub fn kind_of(dtype: Dtype) -> Option<Kind> {
    PAIRS
        .iter()
        .find_map(|(own, kind)| (*own == dtype).then_some(*kind))
}

/// libtorch's type as in a file.
pub fn dtype_of(kind: Kind) -> Option<Dtype> {
    PAIRS
        .iter()
        .find_map(|(dtype, own)| (*own == kind).then_some(*dtype))
}

const PAIRS: [(Dtype, Kind); 10] = [
    (Dtype::BOOL, Kind::Bool),
    (Dtype::U8, Kind::Uint8),
    (Dtype::I8, Kind::Int8),
    (Dtype::I16, Kind::Int16),
    (Dtype::I32, Kind::Int),
    (Dtype::I64, Kind::Int64),
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::F32, Kind::Float),
    (Dtype::F64, Kind::Double),
];

/// A tensor whose bytes are copied from its device only when they are written.
struct TorchView<'t> {
    tensor: &'t Tensor,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl View for TorchView<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        let tensor = self.tensor.detach().to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; self.data_len()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        bytes.into()
    }
    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_type() -> Vec<(String, Tensor)> {
        let numbers = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]) - 1.5;
        PAIRS
            .iter()
            .map(|(dtype, kind)| (format!("{dtype:?}"), numbers.to_kind(*kind)))
            .collect()
    }

    #[test]
    fn every_type_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.safetensors");
        let written = every_type();
        write(&path, &written, &[]).unwrap();
        let found = read(&path).unwrap();
        assert_eq!(found.len(), written.len());
        for (name, tensor) in &written {
            assert_eq!(found[name].kind(), tensor.kind(), "{name}");
            assert!(found[name].equal(tensor), "{name}");
        }
    }

    /// Results of earlier versions were written by tch and are addressed by the digest of their
    /// bytes.
    #[test]
    fn bytes_are_those_that_tch_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        let mut tensors = every_type();
        tensors.push(("scalar".to_owned(), Tensor::from(3i64)));
        tensors.push((
            "empty".to_owned(),
            Tensor::zeros([0, 4], (Kind::Float, Device::Cpu)),
        ));
        write(&ours, &tensors, &[]).unwrap();
        Tensor::write_safetensors(&tensors, &theirs).unwrap();
        assert_eq!(std::fs::read(ours).unwrap(), std::fs::read(theirs).unwrap());
    }

    #[test]
    fn views_and_leaves_of_a_graph_are_written_by_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let leaf = Tensor::from_slice2(&[[1f32, 2.0], [3.0, 4.0]]).set_requires_grad(true);
        write(&path, &[("t", leaf.tr())], &[]).unwrap();
        let expected = Tensor::from_slice2(&[[1f32, 3.0], [2.0, 4.0]]);
        assert!(read_one(&path, "t").unwrap().equal(&expected));
    }

    #[test]
    fn types_that_one_side_lacks_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let complex = Tensor::zeros([2], (Kind::ComplexFloat, Device::Cpu));
        let error = write(&path, &[("c", complex)], &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("tensor `c` is ComplexFloat [2], expected"));
        let header = br#"{"u":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}  "#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend([0; 8]);
        std::fs::write(&path, bytes).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("tensor `u` is U64 [1], expected"), "{error}");
        let error = read_one(&path, "v").unwrap_err().to_string();
        assert!(
            error.contains("tensor `v` is missing, found [\"u\"]"),
            "{error}"
        );
    }
}

//! Writing: whole files only, with the same bytes for the same content.

use crate::{Element, TensorFileError};
use cedm_atomic_file::AtomicFile;
use safetensors::{
    Dtype, View,
    tensor::{Metadata, TensorInfo},
};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::{borrow::Cow, collections::BTreeMap, io::Write, path::Path};

/// A tensor to be written whose bytes lie in memory.
#[derive(Clone, Debug)]
pub struct Data<'d> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'d, [u8]>,
}

impl<'d> Data<'d> {
    /// A tensor of numbers; the caller answers for as many of them as `shape` says.
    pub fn of<T: Element>(shape: &[usize], values: &[T]) -> Self {
        Self {
            dtype: T::DTYPE,
            shape: shape.to_vec(),
            bytes: Cow::Owned(T::to_bytes(values)),
        }
    }
    /// A tensor of bytes, which are borrowed.
    pub fn of_bytes(shape: &[usize], bytes: &'d [u8]) -> Self {
        Self {
            dtype: Dtype::U8,
            shape: shape.to_vec(),
            bytes: Cow::Borrowed(bytes),
        }
    }
}

impl View for Data<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes tensors and string metadata to an [`AtomicFile`] at `path`. The bytes depend on names,
/// numbers and notes alone, whatever order they come in: digests of results rest on them.
///
/// # Errors
/// [`TensorFileError::Io`] when it cannot be written, [`TensorFileError::Layout`] when two tensors
/// have one name or a shape does not fit its numbers.
pub fn write<S: AsRef<str>, V: View>(
    path: &Path,
    tensors: &[(S, V)],
    notes: &[(&str, &str)],
) -> Result<(), TensorFileError> {
    let layout = Layout::of(tensors, notes).map_err(|reason| TensorFileError::Layout {
        file: path.to_owned(),
        reason,
    })?;
    let written = AtomicFile::create(path).and_then(|mut file| {
        layout.write(&mut file)?;
        file.commit()
    });
    written.map_err(|source| TensorFileError::Io {
        action: "write",
        file: path.to_owned(),
        source,
    })
}

/// The bytes that [`write()`] writes.
///
/// # Errors
/// As [`write()`]; `origin` is what errors call them.
pub fn encode<S: AsRef<str>, V: View>(
    origin: &str,
    tensors: &[(S, V)],
    notes: &[(&str, &str)],
) -> Result<Vec<u8>, TensorFileError> {
    let refused = |reason| TensorFileError::Layout {
        file: origin.into(),
        reason,
    };
    let layout = Layout::of(tensors, notes).map_err(refused)?;
    let mut bytes = Vec::new();
    layout
        .write(&mut bytes)
        .map_err(|error| refused(error.to_string()))?;
    Ok(bytes)
}

/// Tensors in the order in which they are written, with their header.
struct Layout<'t, V> {
    header: Vec<u8>,
    tensors: Vec<&'t V>,
}

impl<'t, V: View> Layout<'t, V> {
    fn of<S: AsRef<str>>(tensors: &'t [(S, V)], notes: &[(&str, &str)]) -> Result<Self, String> {
        let mut sorted: Vec<(&str, &V)> = tensors
            .iter()
            .map(|(name, tensor)| (name.as_ref(), tensor))
            .collect();
        // The order of the safetensors crate: wide types first, which keeps every tensor aligned
        // to its element, then by name.
        sorted
            .sort_by(|(a_name, a), (b_name, b)| b.dtype().cmp(&a.dtype()).then(a_name.cmp(b_name)));
        let mut offset = 0;
        let mut infos = Vec::with_capacity(sorted.len());
        for (name, tensor) in &sorted {
            let end = offset + tensor.data_len();
            let info = TensorInfo {
                dtype: tensor.dtype(),
                shape: tensor.shape().to_vec(),
                data_offsets: (offset, end),
            };
            infos.push(((*name).to_owned(), info));
            offset = end;
        }
        let checked = Metadata::new(None, infos.clone()).map_err(|error| error.to_string())?;
        if checked.tensors().len() != sorted.len() {
            return Err("two tensors have one name".to_owned());
        }
        let entries = Entries {
            notes: notes.iter().copied().collect(),
            infos: &infos,
        };
        let mut header = serde_json::to_vec(&entries).map_err(|error| error.to_string())?;
        // Spaces up to a multiple of 8 bytes: the data then begins aligned.
        header.resize(header.len().next_multiple_of(8), b' ');
        Ok(Self {
            header,
            tensors: sorted.into_iter().map(|(_, tensor)| tensor).collect(),
        })
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(&(self.header.len() as u64).to_le_bytes())?;
        out.write_all(&self.header)?;
        for tensor in &self.tensors {
            out.write_all(&tensor.data())?;
        }
        Ok(())
    }
}

/// The header as JSON. The safetensors crate writes metadata in the order of a hash map, which
/// differs from run to run; here it is the order of the keys.
struct Entries<'h> {
    notes: BTreeMap<&'h str, &'h str>,
    infos: &'h [(String, TensorInfo)],
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.notes.is_empty() {
            map.serialize_entry("__metadata__", &self.notes)?;
        }
        for (name, info) in self.infos {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

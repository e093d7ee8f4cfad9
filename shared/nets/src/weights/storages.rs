//! Storages: the flat arrays of numbers that the tensors of a PyTorch file are views of. A pickle
//! names them; their bytes are elsewhere in the file, or a file of its own inside the pickle.

use cedm_images::pickle::{Id, Node, Pickle};
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// Longest key of a storage in bytes: many tensors may share a long one that is given once.
const MAX_KEY: usize = 1024;

/// A storage as a pickle refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StorageName {
    /// Key of its bytes in the file.
    pub key: String,
    /// Type of its elements.
    pub kind: Kind,
    /// Number of elements in the storage.
    pub count: usize,
    /// Index of the first element, for views of another storage.
    pub offset: usize,
    /// Node whose bytes are a file of the storage alone, where it lies inside the pickle.
    pub inline: Option<Id>,
}

/// Bytes of one element of every storage that the pickle refers to, by its key; those of objects
/// that are skipped are among them, those of an unknown type are not.
pub(super) fn element_sizes(pickle: &Pickle<'_>) -> BTreeMap<String, usize> {
    let size = |id: Id| -> Option<(String, usize)> {
        let Node::Persistent(id) = pickle.node(id) else {
            return None;
        };
        let (class, key, _, _) = storage_parts(pickle, *id)?;
        Some((key, element_bytes(class)?))
    };
    pickle.ids().filter_map(size).collect()
}

/// What stands where a tensor has its storage.
pub(super) enum StorageRef {
    /// A storage of a type that is read.
    Found(StorageName),
    /// A storage of a type that is not read, with the reason.
    Unread(String),
    /// Anything that is no storage.
    Other,
}

/// Parses the reference to a storage: outside the pickle, or a file of its own in the bytes of a
/// call of `_load_from_bytes`. `kind` is the type of the numbers, where the storage has none.
pub(super) fn storage_name(
    pickle: &Pickle<'_>,
    id: Id,
    kind: Option<Kind>,
) -> Result<StorageRef, String> {
    let parts = match pickle.node(id) {
        Node::Persistent(id) => storage_parts(pickle, *id),
        Node::Call { .. } => {
            let Some((("torch.storage", "_load_from_bytes"), [bytes])) = pickle.call(id) else {
                return Ok(StorageRef::Other);
            };
            // Its type is in the bytes and is filled in when they are read.
            return Ok(StorageRef::Found(StorageName {
                key: format!("bytes {bytes}"),
                kind: kind.unwrap_or(Kind::Float),
                count: 0,
                offset: 0,
                inline: Some(*bytes),
            }));
        }
        _ => return Ok(StorageRef::Other),
    };
    let Some((class, key, count, offset)) = parts else {
        return Err(format!(
            "its storage has no type, no key of at most {MAX_KEY} bytes or no element count"
        ));
    };
    let Some(kind) = kind.or_else(|| kind_of_storage(class)) else {
        return Ok(StorageRef::Unread(format!(
            "its storage has type {class}, which is not supported"
        )));
    };
    Ok(StorageRef::Found(StorageName {
        key,
        kind,
        count,
        offset,
        inline: None,
    }))
}

/// Class, key, element count and first element of a storage: `('storage', type, key, location,
/// count[, view])`, where `view` is `(key, offset, count)` in files from before PyTorch 0.4.
fn storage_parts<'p>(pickle: &'p Pickle<'_>, id: Id) -> Option<(&'p str, String, usize, usize)> {
    let parts = pickle.elements(id)?;
    if parts.len() < 5 || pickle.text(parts[0]) != Some("storage") {
        return None;
    }
    let ("torch" | "torch.storage", class) = pickle.global(parts[1])? else {
        return None;
    };
    let key = pickle
        .text(parts[2])
        .filter(|key| key.len() <= MAX_KEY)
        .map(str::to_owned)
        .or_else(|| pickle.int(parts[2]).map(|key| key.to_string()))?;
    let count = usize::try_from(pickle.int(parts[4])?).ok()?;
    let view = parts
        .get(5)
        .and_then(|view| pickle.elements(*view))
        .and_then(|view| pickle.int(*view.get(1)?))
        .unwrap_or(0);
    Some((class, key, count, usize::try_from(view).unwrap_or(0)))
}

fn kind_of_storage(class: &str) -> Option<Kind> {
    Some(match class {
        "FloatStorage" => Kind::Float,
        "DoubleStorage" => Kind::Double,
        "HalfStorage" => Kind::Half,
        "BFloat16Storage" => Kind::BFloat16,
        "LongStorage" => Kind::Int64,
        "IntStorage" => Kind::Int,
        "ShortStorage" => Kind::Int16,
        "CharStorage" => Kind::Int8,
        "ByteStorage" => Kind::Uint8,
        "BoolStorage" => Kind::Bool,
        _ => return None,
    })
}

/// Bytes of one element, of all classes of storages: those that are not read are passed over.
fn element_bytes(class: &str) -> Option<usize> {
    kind_of_storage(class)
        .map(Kind::elt_size_in_bytes)
        .or(match class {
            "ComplexDoubleStorage" => Some(16),
            "ComplexFloatStorage" => Some(8),
            "QInt32Storage" => Some(4),
            "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage"
            | "UntypedStorage" => Some(1),
            _ => None,
        })
}

/// The type that a dtype of PyTorch's stands for.
pub(super) fn kind_of_dtype(name: &str) -> Option<Kind> {
    Some(match name {
        "float32" => Kind::Float,
        "float64" => Kind::Double,
        "float16" => Kind::Half,
        "bfloat16" => Kind::BFloat16,
        "int64" => Kind::Int64,
        "int32" => Kind::Int,
        "int16" => Kind::Int16,
        "int8" => Kind::Int8,
        "uint8" => Kind::Uint8,
        "bool" => Kind::Bool,
        _ => return None,
    })
}

/// The storage that is the whole object of a file.
pub(super) fn only_storage(pickle: &Pickle<'_>) -> Result<StorageName, String> {
    match storage_name(pickle, pickle.root(), None)? {
        StorageRef::Found(storage) if storage.inline.is_none() => Ok(storage),
        StorageRef::Unread(reason) => Err(reason),
        StorageRef::Found(_) | StorageRef::Other => Err("its object is not a storage".to_owned()),
    }
}

/// The storage in the bytes that `_load_from_bytes` takes, as a flat tensor: a file of PyTorch's
/// own whose object is the storage.
pub(super) fn inline_storage(pickle: &Pickle<'_>, id: Id) -> Result<Tensor, String> {
    let bytes = pickle.bytes(id);
    super::legacy::single_storage(&bytes.ok_or("a storage in the pickle is not bytes")?)
}

/// A flat tensor over the little-endian bytes of a storage.
pub(super) fn storage(bytes: &[u8], kind: Kind) -> Result<Tensor, String> {
    let count = bytes.len() / kind.elt_size_in_bytes();
    Tensor::f_from_data_size(
        &bytes[..count * kind.elt_size_in_bytes()],
        &[count as i64],
        kind,
    )
    .map_err(|error| error.to_string())
}

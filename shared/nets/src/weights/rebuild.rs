//! Tensors from the pickled object of a PyTorch file.
//!
//! A pickled tensor is a call of `torch._utils._rebuild_tensor_v2` on a storage, which the pickle
//! only names: its bytes are elsewhere in the file. Other calls are skipped.

use super::Origin;
use cedm_images::pickle::{Id, Node, Pickle};
use std::collections::{BTreeMap, HashMap};
use tch::{Kind, Tensor};

/// Largest depth at which tensors are looked for; each module of a model saved whole takes three
/// levels.
const MAX_DEPTH: usize = 48;
/// Largest number of objects that are visited, since a pickle may contain cycles.
const MAX_STEPS: usize = 1 << 22;

/// Longest name of a tensor. Names are joined from the keys on the way to it, which may be shared: a
/// small file could ask for gigabytes of them.
const MAX_NAME: usize = 1024;
/// Most tensors of a file.
const MAX_TENSORS: usize = 200_000;

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

/// A tensor as a pickle describes it, without its values.
#[derive(Debug)]
pub(super) struct Described {
    /// Keys on the path from the root, joined by dots.
    pub name: String,
    /// The storage that holds its values.
    pub storage: StorageName,
    offset: usize,
    size: Vec<i64>,
    stride: Vec<i64>,
    /// Whether the stored numbers are those of the tensor with the other sign.
    negated: bool,
}

/// What a pickle holds.
#[derive(Default)]
pub(super) struct Found {
    /// Its tensors, in the order of the pickle.
    pub tensors: Vec<Described>,
    /// Tensors of a kind that is not read, with the reason.
    pub unread: BTreeMap<String, String>,
    /// What the first network that was pickled whole says of itself.
    pub origin: Option<Origin>,
}

/// Finds every tensor below the root of the pickle.
pub(super) fn tensors_of(pickle: &Pickle<'_>) -> Result<Found, String> {
    let mut search = Rebuilder {
        pickle,
        found: Found::default(),
        steps_left: MAX_STEPS,
    };
    search.visit(pickle.root(), String::new(), 0)?;
    Ok(search.found)
}

/// A depth-first search for tensors. It visits a shared object once for each path to it, so the
/// number of visits is limited.
struct Rebuilder<'p, 'a> {
    pickle: &'p Pickle<'a>,
    found: Found,
    steps_left: usize,
}

impl Rebuilder<'_, '_> {
    fn visit(&mut self, id: Id, path: String, depth: usize) -> Result<(), String> {
        self.steps_left = self
            .steps_left
            .checked_sub(1)
            .ok_or("its objects form a cycle")?;
        if path.len() > MAX_NAME {
            let start: String = path.chars().take(60).collect();
            return Err(format!(
                "the name `{start}…` of an entry is longer than {MAX_NAME} bytes"
            ));
        }
        let pickle = self.pickle;
        match describe(pickle, id).map_err(|reason| format!("tensor `{path}`: {reason}"))? {
            Kindness::Tensor(tensor) => {
                self.found.tensors.push(Described {
                    name: path,
                    ..*tensor
                });
                if self.found.tensors.len() > MAX_TENSORS {
                    return Err(format!("more than {MAX_TENSORS} tensors"));
                }
                return Ok(());
            }
            Kindness::Unread(reason) => {
                self.found.unread.insert(path, reason);
                return Ok(());
            }
            Kindness::Other => {}
        }
        if depth == MAX_DEPTH {
            return Ok(());
        }
        let join = |key: &str| match key {
            // Attributes in which a Python module keeps its parts; state dicts omit these names.
            "_parameters" | "_buffers" | "_modules" => path.clone(),
            _ if path.is_empty() => key.to_owned(),
            _ => format!("{path}.{key}"),
        };
        if let Some(((_, "_reconstruct_persistent_obj"), [meta])) = pickle.call(id) {
            // EDM's pickles carry the source text of their classes, which is not looked at, and the
            // attributes of the object.
            if self.found.origin.is_none() {
                self.found.origin = origin(pickle, *meta);
            }
            if let Some(state) = pickle.get(*meta, "state") {
                self.visit(state, path, depth + 1)?;
            }
        } else if let Some(items) = pickle.items(id) {
            for (key, value) in items {
                let key = pickle
                    .text(key)
                    .map(str::to_owned)
                    .or_else(|| pickle.int(key).map(|key| key.to_string()));
                if let Some(key) = key {
                    self.visit(value, join(&key), depth + 1)?;
                }
            }
        } else if let Some(elements) = pickle.elements(id) {
            for (index, element) in elements.iter().enumerate() {
                self.visit(*element, join(&index.to_string()), depth + 1)?;
            }
        } else if let Some(state) = pickle.state(id) {
            // A module saved whole or as TorchScript (OpenAI's CLIP): its attributes are in the
            // state of an object.
            self.visit(state, path, depth + 1)?;
        }
        Ok(())
    }
}

/// What an object is to a reader of weights.
enum Kindness {
    /// A tensor, without its name.
    Tensor(Box<Described>),
    /// A tensor of a kind that is not read, with the reason.
    Unread(String),
    /// No tensor.
    Other,
}

/// What an object stands for.
fn describe(pickle: &Pickle<'_>, id: Id) -> Result<Kindness, String> {
    let Some(((module, name), args)) = pickle.call(id) else {
        return Ok(Kindness::Other);
    };
    described(pickle, (module, name), args, 0)
}

fn described(
    pickle: &Pickle<'_>,
    (module, name): (&str, &str),
    args: &[Id],
    depth: usize,
) -> Result<Kindness, String> {
    if depth > 8 || !module.starts_with("torch") {
        return Ok(Kindness::Other);
    }
    match (name, args) {
        // Parameters and buffers: a tensor with attributes that a network does not need.
        (
            "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_buffer",
            [inner, ..],
        )
        | ("Parameter" | "Buffer", [inner, ..]) => match pickle.call(*inner) {
            Some((inner, args)) => described(pickle, inner, args, depth + 1),
            None => Ok(Kindness::Other),
        },
        // A subclass of tensors: (function, class, arguments of the function, state).
        ("_rebuild_from_type_v2" | "_rebuild_from_type", [function, _, inner, ..]) => {
            match (pickle.global(*function), pickle.elements(*inner)) {
                (Some(function), Some(inner)) => described(pickle, function, inner, depth + 1),
                _ => Ok(Kindness::Other),
            }
        }
        // (storage, offset, size, stride, requires_grad, hooks, metadata); version 3 has the type
        // before the metadata, as its storage has none.
        ("_rebuild_tensor" | "_rebuild_tensor_v2", [storage, offset, size, stride, rest @ ..]) => {
            let (storage, metadata) = (storage_name(pickle, *storage, None), rest.get(2));
            strided(
                pickle,
                storage?,
                [*offset, *size, *stride],
                metadata.copied(),
            )
        }
        ("_rebuild_tensor_v3", [storage, offset, size, stride, _, _, dtype, rest @ ..]) => {
            let dtype = pickle.global(*dtype).map(|(_, name)| name);
            let kind = dtype.and_then(kind_of_dtype);
            let Some(kind) = kind else {
                let dtype = dtype.unwrap_or("unknown");
                return Ok(Kindness::Unread(format!("its type is {dtype}")));
            };
            let storage = storage_name(pickle, *storage, Some(kind))?;
            strided(
                pickle,
                storage,
                [*offset, *size, *stride],
                rest.first().copied(),
            )
        }
        (name, _) if name.starts_with("_rebuild_") => Ok(Kindness::Unread(format!(
            "it is made by `{name}`, expected a dense tensor"
        ))),
        _ => Ok(Kindness::Other),
    }
}

/// A dense tensor over a storage.
fn strided(
    pickle: &Pickle<'_>,
    storage: StorageRef,
    [offset, size, stride]: [Id; 3],
    metadata: Option<Id>,
) -> Result<Kindness, String> {
    let storage = match storage {
        StorageRef::Found(storage) => storage,
        StorageRef::Unread(reason) => return Ok(Kindness::Unread(reason)),
        StorageRef::Other => return Ok(Kindness::Other),
    };
    let flag = |key: &str| {
        let value = metadata.and_then(|metadata| pickle.get(metadata, key));
        value.and_then(|value| pickle.int(value)) == Some(1)
    };
    if flag("conj") {
        return Ok(Kindness::Unread("it is a conjugate view".to_owned()));
    }
    let offset = pickle
        .int(offset)
        .and_then(|offset| usize::try_from(offset).ok())
        .ok_or("its offset is not an integer")?;
    let sizes = |id: Id| -> Result<Vec<i64>, String> {
        let elements = pickle.elements(id).ok_or("its shape is not a tuple")?;
        elements
            .iter()
            .map(|id| {
                pickle
                    .int(*id)
                    .filter(|size| *size >= 0)
                    .ok_or_else(|| "its shape is not a tuple of integers of at least 0".to_owned())
            })
            .collect()
    };
    Ok(Kindness::Tensor(Box::new(Described {
        name: String::new(),
        storage,
        offset,
        size: sizes(size)?,
        stride: sizes(stride)?,
        negated: flag("neg"),
    })))
}

/// What a network of EDM's says of itself: the name of its class, and its `sigma_data`, an attribute
/// and an argument of its constructor.
fn origin(pickle: &Pickle<'_>, meta: Id) -> Option<Origin> {
    let class = pickle.text(pickle.get(meta, "class_name")?)?.to_owned();
    let state = pickle.get(meta, "state")?;
    let kwargs = ["_init_kwargs", "init_kwargs"];
    let arguments = kwargs.iter().find_map(|key| pickle.get(state, key));
    let value = |place: Id| match pickle.node(pickle.get(place, "sigma_data")?) {
        Node::Float(value) => Some(*value),
        Node::Int(value) => Some(*value as f64),
        _ => None,
    };
    Some(Origin {
        class,
        sigma_data: value(state).or_else(|| value(arguments?)),
    })
}

/// Every storage that the pickle refers to, including those of skipped objects; `None` in place of
/// one of a type that is not read.
pub(super) fn storages_of(pickle: &Pickle<'_>) -> Vec<(String, usize)> {
    let size = |id: Id| -> Option<(String, usize)> {
        let Node::Persistent(id) = pickle.node(id) else {
            return None;
        };
        let (class, key, _, _) = storage_parts(pickle, *id)?;
        Some((key, element_bytes(class)?))
    };
    pickle.ids().filter_map(size).collect()
}

/// A reference to a storage.
enum StorageRef {
    Found(StorageName),
    Unread(String),
    Other,
}

/// Parses the reference to a storage: outside the pickle, or a file of its own in the bytes of a call
/// of `_load_from_bytes`. `kind` is the type of the numbers, where the storage has none.
fn storage_name(pickle: &Pickle<'_>, id: Id, kind: Option<Kind>) -> Result<StorageRef, String> {
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
        return Err("its storage has no type, no key or no element count".to_owned());
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

fn kind_of_dtype(name: &str) -> Option<Kind> {
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

/// The storage in the bytes that `_load_from_bytes` takes, as a flat tensor: a file of PyTorch's own
/// whose object is the storage.
pub(super) fn inline_storage(pickle: &Pickle<'_>, id: Id) -> Result<Tensor, String> {
    let Node::Bytes(bytes) = pickle.node(id) else {
        return Err("a storage in the pickle is not bytes".to_owned());
    };
    super::legacy::single_storage(bytes)
}

/// The storages of a file by key, as flat tensors.
pub(super) type Storages = HashMap<String, Tensor>;

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

/// Builds the described tensors from their storages: views of them.
pub(super) fn build(
    described: Vec<Described>,
    storages: &Storages,
) -> Result<BTreeMap<String, Tensor>, String> {
    let mut tensors = BTreeMap::new();
    for Described {
        name,
        storage,
        offset,
        size,
        stride,
        negated,
    } in described
    {
        let whole = storages
            .get(&storage.key)
            .ok_or_else(|| format!("tensor `{name}`: storage {} is missing", storage.key))?;
        let fits = || -> Option<bool> {
            let offset = (offset as i64).checked_add(storage.offset as i64)?;
            if size.contains(&0) {
                return Some(true);
            }
            let mut last = offset;
            for (size, stride) in size.iter().zip(&stride) {
                last = last.checked_add((size - 1).checked_mul(*stride)?)?;
            }
            Some(size.len() == stride.len() && (last as u64) < whole.numel() as u64)
        };
        if fits() != Some(true) {
            return Err(format!(
                "tensor `{name}` of shape {size:?} extends beyond its storage of {} elements",
                whole.numel()
            ));
        }
        let tensor = if size.contains(&0) {
            Tensor::f_zeros(&size[..], (whole.kind(), tch::Device::Cpu))
        } else {
            whole.f_as_strided(&size[..], &stride[..], (offset + storage.offset) as i64)
        };
        // A view, not a copy: with a stride of 0 a few bytes have any shape. Whoever loads a network
        // compares the shape first, and then copies.
        let tensor = tensor
            .and_then(|tensor| if negated { tensor.f_neg() } else { Ok(tensor) })
            .map_err(|error| format!("tensor `{name}`: {error}"))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

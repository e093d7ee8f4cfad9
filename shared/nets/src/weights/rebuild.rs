//! Tensors from the pickled object of a PyTorch file.
//!
//! A pickled tensor is a call of `torch._utils._rebuild_tensor_v2` on a storage, which the pickle
//! only names: its bytes are elsewhere in the file. Other calls are skipped.

use cedm_images::pickle::{Id, Node, Pickle};
use std::collections::{BTreeMap, HashMap};
use tch::{Kind, Tensor};

/// Largest depth at which tensors are looked for; each module of a model saved whole takes three
/// levels.
const MAX_DEPTH: usize = 48;
/// Largest number of objects that are visited, since a pickle may contain cycles.
const MAX_STEPS: usize = 1 << 22;

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
}

/// Finds every tensor below the root of the pickle.
pub(super) fn tensors_of(pickle: &Pickle<'_>) -> Result<Vec<Described>, String> {
    let mut search = Rebuilder {
        pickle,
        found: Vec::new(),
        steps_left: MAX_STEPS,
    };
    search.visit(pickle.root(), String::new(), 0)?;
    Ok(search.found)
}

/// A depth-first search for tensors. It visits a shared object once for each path to it, so the
/// number of visits is limited.
struct Rebuilder<'p, 'a> {
    pickle: &'p Pickle<'a>,
    found: Vec<Described>,
    steps_left: usize,
}

impl Rebuilder<'_, '_> {
    fn visit(&mut self, id: Id, path: String, depth: usize) -> Result<(), String> {
        self.steps_left = self
            .steps_left
            .checked_sub(1)
            .ok_or("its objects form a cycle")?;
        let pickle = self.pickle;
        if let Some(tensor) =
            describe(pickle, id).map_err(|reason| format!("tensor `{path}`: {reason}"))?
        {
            self.found.push(Described {
                name: path,
                ..tensor
            });
            return Ok(());
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
        if let Some(items) = pickle.items(id) {
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

/// The tensor that an object stands for, without its name; `None` if it is not a tensor.
fn describe(pickle: &Pickle<'_>, id: Id) -> Result<Option<Described>, String> {
    let mut id = id;
    for _ in 0..MAX_DEPTH {
        match pickle.call(id) {
            Some((
                ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"),
                args,
            )) if !args.is_empty() => id = args[0],
            Some((("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor"), args))
                if args.len() >= 4 =>
            {
                let Some(storage) = storage_name(pickle, args[0])? else {
                    return Ok(None);
                };
                let offset = pickle
                    .int(args[1])
                    .and_then(|offset| usize::try_from(offset).ok())
                    .ok_or("its offset is not an integer")?;
                let sizes = |id: Id| -> Result<Vec<i64>, String> {
                    let elements = pickle.elements(id).ok_or("its shape is not a tuple")?;
                    elements
                        .iter()
                        .map(|id| {
                            pickle.int(*id).filter(|size| *size >= 0).ok_or_else(|| {
                                "its shape is not a tuple of integers of at least 0".to_owned()
                            })
                        })
                        .collect()
                };
                let (size, stride) = (sizes(args[2])?, sizes(args[3])?);
                return Ok(Some(Described {
                    name: String::new(),
                    storage,
                    offset,
                    size,
                    stride,
                }));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Every storage that the pickle refers to, including those of skipped objects.
pub(super) fn storages_of(pickle: &Pickle<'_>) -> Vec<StorageName> {
    pickle
        .ids()
        .filter_map(|id| storage_name(pickle, id).ok().flatten())
        .collect()
}

/// Parses the reference to a storage: `('storage', type, key, location, count[, view])`, where `view`
/// is `(key, offset, count)` in files from before PyTorch 0.4. `None` for any other object.
fn storage_name(pickle: &Pickle<'_>, id: Id) -> Result<Option<StorageName>, String> {
    let Node::Persistent(id) = pickle.node(id) else {
        return Ok(None);
    };
    let parts = pickle.elements(*id).unwrap_or(&[]);
    if parts.len() < 5 || pickle.text(parts[0]) != Some("storage") {
        return Ok(None);
    }
    let Some(("torch" | "torch.storage", class)) = pickle.global(parts[1]) else {
        return Err("its storage has no type".to_owned());
    };
    let kind = match class {
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
        other => {
            return Err(format!(
                "its storage has type {other}, which is not supported"
            ));
        }
    };
    let key = pickle
        .text(parts[2])
        .map(str::to_owned)
        .or_else(|| pickle.int(parts[2]).map(|key| key.to_string()));
    let count = pickle
        .int(parts[4])
        .and_then(|count| usize::try_from(count).ok());
    let (Some(key), Some(count)) = (key, count) else {
        return Err("its storage has no key or no element count".to_owned());
    };
    let view = parts
        .get(5)
        .and_then(|view| pickle.elements(*view))
        .and_then(|view| pickle.int(*view.get(1)?))
        .unwrap_or(0);
    Ok(Some(StorageName {
        key,
        kind,
        count,
        offset: usize::try_from(view).unwrap_or(0),
    }))
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

/// Builds the described tensors from their storages; each one is contiguous.
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
            Tensor::f_zeros(&size[..], (storage.kind, tch::Device::Cpu))
        } else {
            whole.f_as_strided(&size[..], &stride[..], (offset + storage.offset) as i64)
        };
        let tensor = tensor
            .and_then(|tensor| tensor.f_contiguous())
            .map_err(|error| format!("tensor `{name}`: {error}"))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

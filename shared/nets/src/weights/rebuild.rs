//! Tensors from the pickled object of a PyTorch file.
//!
//! A pickled tensor is a call of `torch._utils._rebuild_tensor_v2` on a storage. Other calls are
//! skipped.

use super::{
    Origin, Weights,
    storages::{StorageName, StorageRef, inline_storage, kind_of_dtype, storage_name},
};
use cedm_images::pickle::{Id, Node, Pickle};
use std::collections::{BTreeMap, HashMap};
use tch::Tensor;

/// Largest depth at which tensors are looked for; each module of a model saved whole takes three
/// levels.
const MAX_DEPTH: usize = 48;
/// Largest number of objects that are visited, since a pickle may contain cycles.
const MAX_STEPS: usize = 1 << 22;

/// Longest name of a tensor in bytes. Names are joined from the keys on the way to it, which may be
/// shared: a small file could ask for gigabytes of them.
const MAX_NAME: usize = 1024;
/// Most tensors of a file, those of a kind that is not read included.
const MAX_TENSORS: usize = 200_000;
/// Most axes of a tensor, as in libtorch.
const MAX_AXES: usize = 64;
/// Most entries of a tensor's metadata, which tensors may share; PyTorch writes two.
const MAX_METADATA: usize = 64;
/// A view may show numbers of its storage more than once, up to so many numbers in all.
const MAX_EXPANDED: usize = 1 << 22;

/// A tensor as a pickle describes it, without its values.
#[derive(Debug)]
struct Described {
    /// Keys on the path from the root, joined by dots.
    name: String,
    /// The storage that holds its values.
    storage: StorageName,
    offset: usize,
    size: Vec<i64>,
    stride: Vec<i64>,
    /// Whether the stored numbers are those of the tensor with the other sign.
    negated: bool,
}

/// What a pickle holds.
#[derive(Default)]
struct PickleContents {
    /// Its tensors, in the order of the pickle.
    tensors: Vec<Described>,
    /// Tensors of a kind that is not read, with the reason.
    unread: BTreeMap<String, String>,
    /// What objects that were pickled whole say of themselves, by name.
    origins: BTreeMap<String, Origin>,
}

/// Every tensor of a file by name. `outside` reads a storage whose bytes lie outside the pickle;
/// each is asked for once.
pub(super) fn weights_of(
    pickle: &Pickle<'_>,
    mut outside: impl FnMut(&StorageName) -> Result<Tensor, String>,
) -> Result<Weights, String> {
    let found = tensors_of(pickle)?;
    let mut storages = Storages::new();
    for Described { storage, .. } in &found.tensors {
        if !storages.contains_key(&storage.key) {
            let flat = match storage.inline {
                Some(id) => inline_storage(pickle, id)?,
                None => outside(storage)?,
            };
            storages.insert(storage.key.clone(), flat);
        }
    }
    build(found, &storages)
}

/// Finds every tensor below the root of the pickle.
fn tensors_of(pickle: &Pickle<'_>) -> Result<PickleContents, String> {
    let mut search = TensorSearch {
        pickle,
        found: PickleContents::default(),
        steps_left: MAX_STEPS,
    };
    search.visit(pickle.root(), String::new(), 0)?;
    Ok(search.found)
}

/// A depth-first search for tensors. It visits a shared object once for each path to it, so the
/// number of visits is limited.
struct TensorSearch<'p, 'a> {
    pickle: &'p Pickle<'a>,
    found: PickleContents,
    steps_left: usize,
}

impl TensorSearch<'_, '_> {
    fn step(&mut self) -> Result<(), String> {
        let left = self.steps_left.checked_sub(1);
        self.steps_left = left.ok_or_else(|| {
            format!("its objects form a cycle, or refer to each other more than {MAX_STEPS} times")
        })?;
        Ok(())
    }

    fn visit(&mut self, id: Id, path: String, depth: usize) -> Result<(), String> {
        self.step()?;
        if path.len() > MAX_NAME {
            let start: String = path.chars().take(60).collect();
            return Err(format!(
                "the name `{start}…` of an entry is longer than {MAX_NAME} bytes"
            ));
        }
        let pickle = self.pickle;
        if self.found.tensors.len() + self.found.unread.len() > MAX_TENSORS {
            return Err(format!("more than {MAX_TENSORS} tensors"));
        }
        match describe(pickle, id).map_err(|reason| format!("tensor `{path}`: {reason}"))? {
            PickledObject::Tensor(tensor) => {
                self.found.tensors.push(Described {
                    name: path,
                    ..*tensor
                });
                return Ok(());
            }
            PickledObject::Unread(reason) => {
                self.found.unread.insert(path, reason);
                return Ok(());
            }
            PickledObject::Other => {}
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
            if let Some(origin) = origin(pickle, *meta) {
                self.found.origins.insert(path.clone(), origin);
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
                match key {
                    Some(key) => self.visit(value, join(&key), depth + 1)?,
                    // An object that refers to a dict often has it looked through often.
                    None => self.step()?,
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
enum PickledObject {
    /// A tensor, without its name.
    Tensor(Box<Described>),
    /// A tensor of a kind that is not read, with the reason.
    Unread(String),
    /// Anything that is no tensor: a list, a number, the class of a network.
    Other,
}

/// What an object stands for.
fn describe(pickle: &Pickle<'_>, id: Id) -> Result<PickledObject, String> {
    let Some(((module, name), args)) = pickle.call(id) else {
        return Ok(PickledObject::Other);
    };
    described(pickle, (module, name), args, 0)
}

fn described(
    pickle: &Pickle<'_>,
    (module, name): (&str, &str),
    args: &[Id],
    depth: usize,
) -> Result<PickledObject, String> {
    if depth > 8 || !module.starts_with("torch") {
        return Ok(PickledObject::Other);
    }
    match (name, args) {
        // Parameters and buffers: a tensor with attributes that a network does not need.
        (
            "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_buffer",
            [inner, ..],
        )
        | ("Parameter" | "Buffer", [inner, ..]) => match pickle.call(*inner) {
            Some((inner, args)) => described(pickle, inner, args, depth + 1),
            None => Ok(PickledObject::Other),
        },
        // A subclass of tensors: (function, class, arguments of the function, state).
        ("_rebuild_from_type_v2" | "_rebuild_from_type", [function, _, inner, ..]) => {
            match (pickle.global(*function), pickle.elements(*inner)) {
                (Some(function), Some(inner)) => described(pickle, function, inner, depth + 1),
                _ => Ok(PickledObject::Other),
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
                return Ok(PickledObject::Unread(format!("its type is {dtype}")));
            };
            let storage = storage_name(pickle, *storage, Some(kind))?;
            strided(
                pickle,
                storage,
                [*offset, *size, *stride],
                rest.first().copied(),
            )
        }
        (name, _) if name.starts_with("_rebuild_") => Ok(PickledObject::Unread(format!(
            "it is made by `{name}`, expected a dense tensor"
        ))),
        _ => Ok(PickledObject::Other),
    }
}

/// A dense tensor over a storage.
fn strided(
    pickle: &Pickle<'_>,
    storage: StorageRef,
    [offset, size, stride]: [Id; 3],
    metadata: Option<Id>,
) -> Result<PickledObject, String> {
    let storage = match storage {
        StorageRef::Found(storage) => storage,
        StorageRef::Unread(reason) => return Ok(PickledObject::Unread(reason)),
        StorageRef::Other => return Ok(PickledObject::Other),
    };
    let entries = metadata.and_then(|metadata| pickle.items(metadata));
    if entries.is_some_and(|entries| entries.take(MAX_METADATA + 1).count() > MAX_METADATA) {
        return Ok(PickledObject::Unread(format!(
            "its metadata has more than {MAX_METADATA} entries"
        )));
    }
    let flag = |key: &str| {
        let value = metadata.and_then(|metadata| pickle.get(metadata, key));
        value.and_then(|value| pickle.int(value)) == Some(1)
    };
    if flag("conj") {
        return Ok(PickledObject::Unread("it is a conjugate view".to_owned()));
    }
    let offset = pickle
        .int(offset)
        .and_then(|offset| usize::try_from(offset).ok())
        .ok_or("its offset is not an integer")?;
    let sizes = |id: Id| -> Result<Vec<i64>, String> {
        let elements = pickle.elements(id).ok_or("its shape is not a tuple")?;
        if elements.len() > MAX_AXES {
            let count = elements.len();
            return Err(format!("it has {count} axes, expected at most {MAX_AXES}"));
        }
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
    Ok(PickledObject::Tensor(Box::new(Described {
        name: String::new(),
        storage,
        offset,
        size: sizes(size)?,
        stride: sizes(stride)?,
        negated: flag("neg"),
    })))
}

/// What an object of EDM's says of itself: the name of its class, and what is known of it as an
/// attribute, or else as an argument of its constructor.
fn origin(pickle: &Pickle<'_>, meta: Id) -> Option<Origin> {
    let class = pickle.text(pickle.get(meta, "class_name")?)?.to_owned();
    let state = pickle.get(meta, "state")?;
    let arguments = ["_init_kwargs", "init_kwargs"]
        .iter()
        .find_map(|key| pickle.get(state, key));
    let places = [Some(state), arguments];
    let value = |key: &str| {
        places
            .into_iter()
            .flatten()
            .find_map(|at| pickle.get(at, key))
    };
    let integer = |key: &str| value(key).and_then(|id| pickle.int(id));
    let number = |key: &str| match pickle.node(value(key)?) {
        Node::Float(value) => Some(*value),
        Node::Int(value) => Some(*value as f64),
        _ => None,
    };
    Some(Origin {
        class,
        model_type: value("model_type")
            .and_then(|id| pickle.text(id))
            .map(str::to_owned),
        img_resolution: integer("img_resolution"),
        img_channels: integer("img_channels"),
        label_dim: integer("label_dim"),
        sigma_data: number("sigma_data"),
        sigma_min: number("sigma_min"),
        sigma_max: number("sigma_max"),
    })
}

/// The storages of a file by key, as flat tensors.
type Storages = HashMap<String, Tensor>;

/// Builds the described tensors from their storages: views of them. A tensor that has far more
/// numbers than its storage is put into `unread`: with a stride of 0 a few bytes have any shape,
/// and whoever copies it would fill the memory.
fn build(found: PickleContents, storages: &Storages) -> Result<Weights, String> {
    let (mut tensors, mut unread) = (BTreeMap::new(), found.unread);
    for described in found.tensors {
        let Described {
            name,
            storage,
            offset,
            size,
            stride,
            negated,
        } = described;
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
        let count = size.iter().try_fold(1usize, |count, side| {
            count.checked_mul(usize::try_from(*side).ok()?)
        });
        if count.is_none_or(|count| count > whole.numel().max(MAX_EXPANDED)) {
            let reason = format!(
                "its shape {size:?} repeats the {} numbers of its storage (an expanded view)",
                whole.numel()
            );
            unread.insert(name, reason);
            continue;
        }
        let tensor = if size.contains(&0) {
            Tensor::f_zeros(&size[..], (whole.kind(), tch::Device::Cpu))
        } else {
            whole.f_as_strided(&size[..], &stride[..], (offset + storage.offset) as i64)
        };
        let tensor = tensor
            .and_then(|tensor| if negated { tensor.f_neg() } else { Ok(tensor) })
            .map_err(|error| format!("tensor `{name}`: {error}"))?;
        tensors.insert(name, tensor);
    }
    Ok(Weights {
        tensors,
        unread,
        origins: found.origins,
        safetensors: false,
    })
}

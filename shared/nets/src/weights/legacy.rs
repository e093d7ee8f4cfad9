//! PyTorch files before 1.6: five pickles (magic number, protocol, system, object, storage keys), then
//! the storages, each preceded by its number of elements.

use super::rebuild::{Storages, build, storage, storages_of, tensors_of};
use cedm_images::pickle::{Node, Pickle};
use std::{collections::BTreeMap, path::Path};
use tch::Tensor;

/// 0x1950a86a20f9469cfc6c as pickle protocol 2 writes it.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Version of the format, `torch.serialization.PROTOCOL_VERSION`.
const PROTOCOL: i64 = 1001;

/// Whether a file that begins with these bytes has this format.
pub(super) fn is_legacy(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Reads all tensors of the file by name.
///
/// # Errors
/// When the file is truncated or holds a type that is not supported.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut at = MAGIC.len();
    let mut next = |what: &str| -> Result<Pickle<'_>, String> {
        let pickle = Pickle::read(&bytes[at..]).map_err(|error| format!("{what}: {error}"))?;
        at += pickle.length;
        Ok(pickle)
    };
    let protocol = next("protocol")?;
    if protocol.int(protocol.root()) != Some(PROTOCOL) {
        return Err(format!(
            "protocol is {:?}, expected {PROTOCOL}",
            protocol.node(protocol.root())
        ));
    }
    let system = next("system")?;
    if system
        .get(system.root(), "little_endian")
        .is_some_and(|little| *system.node(little) == Node::Bool(false))
    {
        return Err("written on a big-endian machine, which is not supported".to_owned());
    }
    let object = next("object")?;
    let keys = next("storage keys")?;
    let described = tensors_of(&object)?;
    let kinds: BTreeMap<String, _> = storages_of(&object)
        .into_iter()
        .map(|storage| (storage.key, storage.kind))
        .collect();
    let mut storages = Storages::new();
    for key in keys
        .elements(keys.root())
        .ok_or("the storage keys are not a list")?
    {
        let key = keys.text(*key).ok_or("a storage key is not a string")?;
        let count = bytes
            .get(at..at + 8)
            .ok_or_else(|| format!("truncated before storage {key}"))?;
        let count =
            u64::from_le_bytes(count.try_into().expect("invariant: eight bytes were taken"));
        at += 8;
        let kind = *kinds
            .get(key)
            .ok_or_else(|| format!("no object refers to storage {key}"))?;
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(kind.elt_size_in_bytes()))
            .and_then(|size| size.checked_add(at));
        let data = end
            .and_then(|end| bytes.get(at..end))
            .ok_or_else(|| format!("truncated in storage {key} of {count} elements"))?;
        at += data.len();
        storages.insert(key.to_owned(), storage(data, kind)?);
    }
    build(described, &storages)
}

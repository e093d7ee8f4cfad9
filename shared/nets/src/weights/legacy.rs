//! PyTorch files before 1.6: five pickles (magic number, protocol, system, object, storage keys),
//! then the storages, each preceded by its number of elements.

use super::{
    Weights,
    rebuild::weights_of,
    storages::{element_sizes, only_storage, storage},
};
use cedm_images::pickle::{Node, Pickle};
use cedm_tensor_files::open_file;
use std::{collections::BTreeMap, io::Read, path::Path};
use tch::Tensor;

/// 0x1950a86a20f9469cfc6c as pickle protocols from 2 on write it, after the number of the protocol.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Where a protocol from 4 on says the length of what follows.
const FRAME: u8 = 0x95;
/// Version of the format, `torch.serialization.PROTOCOL_VERSION`.
const PROTOCOL: i64 = 1001;

/// Whether a file that begins with these bytes has this format.
pub(super) fn is_legacy(head: &[u8]) -> bool {
    magic_length(head).is_some()
}

/// Length of the magic number, which depends on the protocol that the file was written with.
fn magic_length(head: &[u8]) -> Option<usize> {
    let protocol = *head.get(1).filter(|protocol| (2..=5).contains(*protocol))?;
    let number = if protocol >= 4 && head.get(2) == Some(&FRAME) {
        11
    } else {
        2
    };
    (head[0] == MAGIC[0] && head.get(number..)?.starts_with(&MAGIC[2..]))
        .then_some(number + MAGIC.len() - 2)
}

/// Largest file that is read as a whole, in bytes: EDM2's largest snapshots take a half of it.
const LARGEST: u64 = 8 << 30;

/// All bytes of a file whose tensors lie behind each other in one stream.
///
/// # Errors
/// When it cannot be read, or is too large.
pub(super) fn whole(path: &Path) -> Result<Vec<u8>, String> {
    let file = open_file(path).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!(
            "a pickle of {size} bytes, expected at most {LARGEST}: save it as safetensors"
        ));
    }
    let mut bytes = Vec::new();
    let read = file.take(LARGEST).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Reads all tensors of the file by name.
///
/// # Errors
/// When the file is truncated or damaged.
pub(super) fn read(path: &Path) -> Result<Weights, String> {
    let bytes = whole(path)?;
    let file = LegacyFile::open(&bytes)?;
    weights_of(&file.object, |name| {
        let data = file.storages.get(name.key.as_str());
        let data = data.ok_or_else(|| format!("storage {} is missing", name.key))?;
        storage(data, name.kind)
    })
}

/// The storage of a file that holds nothing else, as a flat tensor.
pub(super) fn single_storage(bytes: &[u8]) -> Result<Tensor, String> {
    let file = LegacyFile::open(bytes).map_err(|reason| format!("storage in bytes: {reason}"))?;
    let name = only_storage(&file.object)?;
    let data = file.storages.get(name.key.as_str());
    storage(data.ok_or("storage in bytes: no data")?, name.kind)
}

/// The parts of such a file.
struct LegacyFile<'a> {
    object: Pickle<'a>,
    storages: BTreeMap<String, &'a [u8]>,
}

impl<'a> LegacyFile<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let magic = magic_length(bytes);
        let mut at = magic.ok_or("not a PyTorch file of the legacy format")?;
        let mut next = |what: &str| -> Result<Pickle<'a>, String> {
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
        let sizes = element_sizes(&object);
        let mut storages = BTreeMap::new();
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
            let size = *sizes
                .get(key)
                .ok_or_else(|| format!("no object refers to storage {key} by a known type"))?;
            let end = usize::try_from(count)
                .ok()
                .and_then(|count| count.checked_mul(size))
                .and_then(|size| size.checked_add(at));
            let data = end
                .and_then(|end| bytes.get(at..end))
                .ok_or_else(|| format!("truncated in storage {key} of {count} elements"))?;
            at += data.len();
            storages.insert(key.to_owned(), data);
        }
        Ok(Self { object, storages })
    }
}

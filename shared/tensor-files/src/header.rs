//! The header of a safetensors file, checked before any of it is believed.

use safetensors::tensor::Metadata;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Longest header that is read, in bytes, far above the few hundred kilobytes of a network with
/// thousands of tensors. The format allows 100 MB, whose names and shapes take ten times that in
/// memory.
const MAX_HEADER: u64 = 16 << 20;
/// Longest name of a tensor in bytes, and most sides of one: errors name both.
const MAX_NAME: usize = 4096;
const MAX_SIDES: usize = 64;

/// Bytes before the header, which hold its length.
pub(crate) const LENGTH_BYTES: u64 = 8;

/// Type, shape and place of every tensor, and the string metadata.
#[derive(Debug)]
pub(crate) struct Header {
    pub metadata: Metadata,
    /// First byte of the data in the file.
    pub data_start: u64,
}

impl Header {
    /// Length of the header of a file of `file_bytes` bytes that begins with `first`.
    ///
    /// # Errors
    /// When the file cannot hold a header of this length; nothing of that size is ever allocated.
    pub fn length(first: &[u8], file_bytes: u64) -> Result<u64, String> {
        let Some(Ok(first)) = first.get(..LENGTH_BYTES as usize).map(<[u8; 8]>::try_from) else {
            return Err(format!(
                "{file_bytes} bytes are too few: an 8-byte header length comes first"
            ));
        };
        let length = u64::from_le_bytes(first);
        if length > MAX_HEADER || length > file_bytes - LENGTH_BYTES {
            return Err(format!(
                "the header length is {length}, the file has {file_bytes} bytes, and at most \
                 {MAX_HEADER} are read"
            ));
        }
        Ok(length)
    }

    /// Checks the JSON of a header against the size of its file.
    ///
    /// # Errors
    /// When it is no header, when tensors overlap, leave gaps or do not fill their bytes, when a
    /// shape overflows, or when the file is shorter or longer than the tensors.
    pub fn parse(json: &[u8], file_bytes: u64) -> Result<Self, String> {
        // Deserialising runs the crate's own validation: every tensor begins where the one before
        // ends, and has as many bytes as its shape and type say.
        let Keys(keys) =
            serde_json::from_slice(json).map_err(|error| format!("its header: {error}"))?;
        if let Some(twice) = keys {
            return Err(format!("its header: `{twice}` stands there twice"));
        }
        let metadata: Metadata =
            serde_json::from_slice(json).map_err(|error| format!("its header: {error}"))?;
        let data_start = LENGTH_BYTES + json.len() as u64;
        let expected = data_start + metadata.data_len() as u64;
        if file_bytes < expected {
            return Err(format!(
                "truncated: {file_bytes} bytes, its header says {expected}"
            ));
        }
        if file_bytes > expected {
            return Err(format!(
                "{} bytes after the last tensor",
                file_bytes - expected
            ));
        }
        for (name, info) in metadata.tensors() {
            if name.len() > MAX_NAME || info.shape.len() > MAX_SIDES {
                return Err(format!(
                    "a tensor with a name of {} bytes and {} sides, expected at most {MAX_NAME} and \
                     {MAX_SIDES}",
                    name.len(),
                    info.shape.len()
                ));
            }
            // Strides are signed 64-bit numbers everywhere else, and a shape with a zero in it
            // passes the check above whatever its other sides are.
            let sides = info.shape.iter().map(|&side| side.max(1));
            let elements = sides.clone().try_fold(1i64, |product, side| {
                product.checked_mul(i64::try_from(side).ok()?)
            });
            if elements.is_none() {
                return Err(format!("tensor `{name}` has shape {:?}", info.shape));
            }
        }
        Ok(Self {
            metadata,
            data_start,
        })
    }

    /// The string metadata by key.
    pub fn notes(&self) -> BTreeMap<&str, &str> {
        let notes = self.metadata.metadata().iter().flatten();
        notes
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }
}

/// The first key that a JSON object has twice: of two tensors with one name a map keeps one.
struct Keys(Option<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Keys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let (mut seen, mut twice) = (BTreeSet::new(), None);
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if twice.is_none() && seen.contains(&key) {
                        twice = Some(key.chars().take(80).collect());
                    }
                    seen.insert(key);
                }
                Ok(Keys(twice))
            }
        }
        from.deserialize_map(Object)
    }
}

//! Reading artefacts: pictures and columns out of shards.

use crate::Artefacts;
use cedm_contract::{ObjectRef, ShardRef, kinds::sample::images::IMAGES};
use safetensors::{Dtype, SafeTensors};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// Shards kept at hand, in bytes: galleries come back to the same ones.
const KEPT_BYTES: usize = 256 << 20;

/// One picture, channel by channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// 1 or 3.
    pub channels: usize,
    /// Rows and columns.
    pub side: usize,
    /// channels × side × side.
    pub pixels: Vec<u8>,
}

/// The artefacts of a report, opened as they are needed.
pub struct ArtefactCache<'a> {
    artefacts: &'a dyn Artefacts,
    kept: RefCell<BTreeMap<String, Rc<Vec<u8>>>>,
}

impl<'a> ArtefactCache<'a> {
    /// Nothing opened yet.
    pub fn new(artefacts: &'a dyn Artefacts) -> Self {
        Self {
            artefacts,
            kept: RefCell::default(),
        }
    }

    /// The bytes of an object.
    pub fn bytes(&self, object: &ObjectRef) -> Result<Rc<Vec<u8>>, String> {
        if let Some(bytes) = self.kept.borrow().get(&object.object) {
            return Ok(bytes.clone());
        }
        let bytes = Rc::new(self.artefacts.bytes(object)?);
        let mut kept = self.kept.borrow_mut();
        if kept.values().map(|bytes| bytes.len()).sum::<usize>() + bytes.len() > KEPT_BYTES {
            kept.clear();
        }
        kept.insert(object.object.clone(), bytes.clone());
        Ok(bytes)
    }

    /// The integer column `name` of a file; `None` where it has no such column.
    pub fn integers(&self, object: &ObjectRef, name: &str) -> Result<Option<Vec<i64>>, String> {
        let bytes = self.bytes(object)?;
        let file = opened(&bytes, object)?;
        let Ok(column) = file.tensor(name) else {
            return Ok(None);
        };
        if column.dtype() != Dtype::I64 {
            return Err(format!(
                "`{name}` of {} is {:?}, expected i64",
                object.object,
                column.dtype()
            ));
        }
        Ok(Some(
            column
                .data()
                .as_chunks::<8>()
                .0
                .iter()
                .map(|bytes| i64::from_le_bytes(*bytes))
                .collect(),
        ))
    }

    /// The f32 column `name` of a file; `None` where it has no such column.
    pub fn floats(&self, object: &ObjectRef, name: &str) -> Result<Option<Vec<f32>>, String> {
        let bytes = self.bytes(object)?;
        let file = opened(&bytes, object)?;
        let Ok(column) = file.tensor(name) else {
            return Ok(None);
        };
        if column.dtype() != Dtype::F32 {
            return Err(format!(
                "`{name}` of {} is {:?}, expected f32",
                object.object,
                column.dtype()
            ));
        }
        Ok(Some(
            column
                .data()
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
        ))
    }

    /// The integer column `name` of all shards in order; `None` where they have no such column.
    pub fn column(&self, shards: &[ShardRef], name: &str) -> Result<Option<Vec<i64>>, String> {
        let mut whole = Vec::new();
        for shard in shards {
            match self.integers(&shard.object, name)? {
                Some(part) => whole.extend(part),
                None => return Ok(None),
            }
        }
        Ok(Some(whole))
    }

    /// The pictures in these rows of a sharded set; `None` for rows that the set does not have.
    pub fn pictures(
        &self,
        shards: &[ShardRef],
        rows: &[u64],
    ) -> Result<Vec<Option<Picture>>, String> {
        let mut found = vec![None; rows.len()];
        for shard in shards {
            let inside: Vec<_> = rows
                .iter()
                .enumerate()
                .filter(|(_, row)| (shard.first..shard.first + shard.count).contains(row))
                .collect();
            if inside.is_empty() {
                continue;
            }
            let bytes = self.bytes(&shard.object)?;
            let file = opened(&bytes, &shard.object)?;
            let images = file
                .tensor(IMAGES.name)
                .map_err(|error| format!("{}: {error}", shard.object.object))?;
            let &[count, channels, side, width] = images.shape() else {
                return Err(format!(
                    "`images` of {} has the shape {:?}, expected [n, channels, side, side]",
                    shard.object.object,
                    images.shape()
                ));
            };
            if images.dtype() != Dtype::U8 || side != width || !matches!(channels, 1 | 3) {
                return Err(format!(
                    "`images` of {} is {:?} {:?}, expected square u8",
                    shard.object.object,
                    images.dtype(),
                    images.shape()
                ));
            }
            let size = channels * side * side;
            for (place, row) in inside {
                let at = (row - shard.first) as usize;
                if at < count {
                    found[place] = Some(Picture {
                        channels,
                        side,
                        pixels: images.data()[at * size..(at + 1) * size].to_vec(),
                    });
                }
            }
        }
        Ok(found)
    }
}

fn opened<'b>(bytes: &'b [u8], object: &ObjectRef) -> Result<SafeTensors<'b>, String> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| format!("{} is no safetensors file: {error}", object.object))
}

//! Reading artefacts: pictures and columns of tensor files.

use crate::Artefacts;
use cedm_contract::kinds::sample::images::LABELS;
use cedm_contract::{ObjectRef, ShardRef, kinds::sample::images::IMAGES};
use cedm_tensor_files::{Dtype, Element, TensorFile, TensorFileError};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// Bytes of the artefacts kept in memory: several parts of the page read the same shards.
const KEPT_BYTES: usize = 256 << 20;

/// One picture, channel by channel as the shards hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Rows, and as many columns.
    pub side: usize,
    /// channels × side × side values from 0 to 255.
    pub pixels: Vec<u8>,
}

/// The artefacts of a report, opened as they are needed.
pub struct ArtefactCache<'a> {
    artefacts: &'a dyn Artefacts,
    kept: RefCell<BTreeMap<String, Rc<Vec<u8>>>>,
}

impl<'a> ArtefactCache<'a> {
    /// An empty cache that reads from `artefacts`.
    pub fn new(artefacts: &'a dyn Artefacts) -> Self {
        Self {
            artefacts,
            kept: RefCell::default(),
        }
    }

    /// The bytes of an object, read once as long as they fit.
    ///
    /// # Errors
    /// The reason why the object cannot be read, for people.
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

    /// The i64 column `name` of a tensor file; `None` where it has no such column.
    pub fn integers(&self, object: &ObjectRef, name: &str) -> Result<Option<Vec<i64>>, String> {
        self.values(object, name)
    }

    /// The f32 column `name` of a tensor file; `None` where it has no such column.
    pub fn floats(&self, object: &ObjectRef, name: &str) -> Result<Option<Vec<f32>>, String> {
        self.values(object, name)
    }

    fn values<T: Element>(&self, object: &ObjectRef, name: &str) -> Result<Option<Vec<T>>, String> {
        let bytes = self.bytes(object)?;
        let file = TensorFile::from_bytes(&object.object, &bytes);
        file.and_then(|file| file.optional(name))
            .map_err(|error| error.to_string())
    }

    /// The labels of a sharded set of images, in order; −1 where an image has none.
    pub fn labels(&self, shards: &[ShardRef]) -> Result<Vec<i64>, String> {
        let mut all = Vec::new();
        for shard in shards {
            let labels = self.integers(&shard.object, LABELS.name)?;
            all.extend(labels.ok_or("the image shards hold no `labels`")?);
        }
        Ok(all)
    }

    /// The pictures in these rows of a sharded set, whose `images` are u8 \[n, channels, side,
    /// side\]; `None` for rows that the set does not have.
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
            let text = |error: TensorFileError| error.to_string();
            let file = TensorFile::from_bytes(&shard.object.object, &bytes).map_err(text)?;
            let entry = file.require(IMAGES.name).map_err(text)?;
            let (count, channels, side) = match (entry.dtype, entry.shape) {
                (Dtype::U8, &[count, channels @ (1 | 3), side, width]) if side == width => {
                    (count, channels, side)
                }
                _ => {
                    return Err(text(
                        file.unexpected(IMAGES.name, "U8 [n, 1 or 3, side, side]"),
                    ));
                }
            };
            let images = file.bytes(IMAGES.name).map_err(text)?;
            let size = channels * side * side;
            for (place, row) in inside {
                let at = (row - shard.first) as usize;
                if at < count {
                    found[place] = Some(Picture {
                        channels,
                        side,
                        pixels: images[at * size..(at + 1) * size].to_vec(),
                    });
                }
            }
        }
        Ok(found)
    }
}

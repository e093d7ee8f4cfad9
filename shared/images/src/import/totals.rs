//! Running digests and counts over the shards of an import. They depend on images and labels alone,
//! not on the container or on the shard size: the same data set has the same digest.

use crate::{shard::Shard, source::Labels};
use cedm_contract::Digest;
use std::collections::BTreeMap;

pub(super) struct Totals {
    pub count: u64,
    pub classes: u32,
    pub coarse_classes: u32,
    /// Images of each label.
    pub class_counts: BTreeMap<i64, u64>,
    content: blake3::Hasher,
    labels: blake3::Hasher,
}

impl Totals {
    pub fn new(labels: &Labels) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[
            u8::from(labels.fine.is_some()),
            u8::from(labels.coarse.is_some()),
        ]);
        Self {
            count: 0,
            classes: 0,
            coarse_classes: 0,
            class_counts: BTreeMap::new(),
            content: blake3::Hasher::new(),
            labels: hasher,
        }
    }

    pub fn add(&mut self, shard: &Shard) {
        self.count += shard.count as u64;
        self.content.update(&shard.digests);
        for label in shard.labels.iter().flatten() {
            *self.class_counts.entry(*label).or_default() += 1;
        }
        for index in 0..shard.count {
            for (labels, classes) in [
                (&shard.labels, &mut self.classes),
                (&shard.coarse_labels, &mut self.coarse_classes),
            ] {
                if let Some(labels) = labels {
                    // Labels may have gaps: the number of classes is the largest label + 1.
                    *classes = (*classes).max(labels[index] as u32 + 1);
                    self.labels.update(&labels[index].to_le_bytes());
                }
            }
        }
    }

    /// Digest of the digests of all images, in order.
    pub fn content(&self) -> Digest {
        Digest::finish(&self.content)
    }

    /// Digest of labels and class names.
    pub fn labels(&self, class_names: &[String]) -> Digest {
        let mut hasher = self.labels.clone();
        for name in class_names {
            hasher
                // The length keeps ("ab", "c") and ("a", "bc") apart.
                .update(&(name.len() as u64).to_le_bytes())
                .update(name.as_bytes());
        }
        Digest::finish(&hasher)
    }
}

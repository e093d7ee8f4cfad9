//! An artefact store in memory, for pages without a system.

use cedm_contract::{Digest, JobKey, ObjectRef, ShardRef};
use cedm_report::Artefacts;
use cedm_tensor_files::{Data, encode};
use std::collections::BTreeMap;

/// Rows of a 5×7 font, most significant bit left.
const FONT: [[u8; 7]; 10] = [
    [14, 17, 19, 21, 25, 17, 14],
    [4, 12, 4, 4, 4, 4, 14],
    [14, 17, 1, 2, 4, 8, 31],
    [31, 2, 4, 2, 1, 17, 14],
    [2, 6, 10, 18, 31, 2, 2],
    [31, 16, 30, 1, 1, 17, 14],
    [6, 8, 16, 30, 17, 17, 14],
    [31, 1, 2, 4, 8, 8, 8],
    [14, 17, 17, 14, 17, 17, 14],
    [14, 17, 17, 15, 1, 2, 12],
];

/// The stored objects, by object key.
#[derive(Default)]
pub struct StoredArtefacts {
    objects: BTreeMap<String, Vec<u8>>,
}

impl Artefacts for StoredArtefacts {
    fn bytes(&self, object: &ObjectRef) -> Result<Vec<u8>, String> {
        self.objects
            .get(&object.object)
            .cloned()
            .ok_or_else(|| format!("{} is not in the store", object.object))
    }
}

/// A key made of a name.
pub fn key(name: &str) -> JobKey {
    JobKey::of(name.as_bytes())
}
/// A digest made of a name.
pub fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

impl StoredArtefacts {
    /// Stores bytes under a name and returns the reference to them.
    pub fn put(&mut self, name: &str, bytes: Vec<u8>) -> ObjectRef {
        let object = ObjectRef {
            object: name.to_owned(),
            size: bytes.len() as u64,
            digest: Digest::of(&bytes),
        };
        self.objects.insert(name.to_owned(), bytes);
        object
    }
    /// Removes an object, as a store that lost it.
    pub fn lose(&mut self, name: &str) {
        assert!(
            self.objects.remove(name).is_some(),
            "{name} was never stored"
        );
    }
    /// A shard of digits; `content` gives each row's label and how noisy it is.
    pub fn images(
        &mut self,
        name: &str,
        first: u64,
        count: u64,
        content: impl Fn(u64) -> (u64, u8),
        labelled: bool,
    ) -> ShardRef {
        let (mut pixels, mut labels, mut seeds) = (Vec::new(), Vec::new(), Vec::new());
        for row in first..first + count {
            let (label, noise) = content(row);
            labels.push(if labelled { label as i64 } else { -1 });
            seeds.push(row as i64);
            let mut state = row.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(noise);
            for y in 0..8 {
                for x in 0..8 {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let ink = (1..6).contains(&x)
                        && y < 7
                        && FONT[(label % 10) as usize][y] >> (5 - x) & 1 == 1;
                    let dirt = (state >> 33) % (u64::from(noise) + 1);
                    pixels.push(if ink { 255 - dirt as u8 } else { dirt as u8 });
                }
            }
        }
        let n = count as usize;
        let tensors = [
            ("images", Data::of_bytes(&[n, 1, 8, 8], &pixels)),
            ("labels", Data::of(&[n], &labels)),
            ("seeds", Data::of(&[n], &seeds)),
        ];
        ShardRef {
            object: self.put(name, encode(name, &tensors, &[]).unwrap()),
            first,
            count,
        }
    }
    /// What a score job writes where the head was asked.
    pub fn confidence(&mut self, name: &str, log_confidence: &[f32]) -> ObjectRef {
        let values = Data::of(&[log_confidence.len()], log_confidence);
        let bytes = encode(name, &[("log_confidence", values)], &[]).unwrap();
        self.put(name, bytes)
    }
    /// What a clustering job writes.
    pub fn assignments(
        &mut self,
        name: &str,
        ids: &[i64],
        counts: &[i64],
        confidence: Option<&[f32]>,
    ) -> ObjectRef {
        let mut tensors = vec![
            ("ids", Data::of(&[ids.len()], ids)),
            ("counts", Data::of(&[counts.len()], counts)),
        ];
        tensors.extend(confidence.map(|values| ("confidence", Data::of(&[ids.len()], values))));
        self.put(
            &format!("assignments-{name}"),
            encode(name, &tensors, &[]).unwrap(),
        )
    }
}

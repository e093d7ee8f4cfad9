//! What a network is conditioned on: one row per training image, whatever it came from (spec §8).
//!
//! Cluster ids, ground truth, imported ids and pseudo-labels are all [`Condition::Ids`]; oracle
//! features are [`Condition::Vectors`]. A new kind of condition is made into one of these.

use crate::{DiffusionError, network::one_hot, weights::CONDITION_ROWS};
use cedm_contract::kinds::cluster::assignments::{COUNTS, RAW_IDS};
use tch::{Device, Kind, Tensor};

/// One condition per training image.
#[derive(Debug)]
pub enum Condition {
    /// No condition: the network is unconditional.
    None,
    /// A class per image.
    Ids {
        /// Compact ids \[n\] i64: every one of 0..dim occurs.
        ids: Tensor,
        /// Images of each id: the prior p(c) in the same order.
        counts: Vec<i64>,
        /// The id that each compact one had before, ascending.
        raw: Vec<i64>,
    },
    /// A vector per image.
    Vectors {
        /// The vector of every image, f32 \[n, d\].
        rows: Tensor,
    },
}

impl Condition {
    /// From ids of any range: the values in use are renumbered 0, 1, … in ascending order (spec
    /// §8).
    ///
    /// # Errors
    /// [`DiffusionError::Labels`] for an empty list or a negative id.
    pub fn compacting(raw: &[i64]) -> Result<Self, DiffusionError> {
        let mut used: Vec<i64> = raw.to_vec();
        used.sort_unstable();
        used.dedup();
        match used.first() {
            None => return Err(labels_error("condition", "no ids", "one id per image")),
            Some(&first) if first < 0 => {
                return Err(labels_error(
                    "condition",
                    format!("id {first}"),
                    "ids of at least 0",
                ));
            }
            Some(_) => {}
        }
        let ids: Vec<i64> = raw
            .iter()
            .map(|id| used.binary_search(id).expect("invariant: collected above") as i64)
            .collect();
        let mut counts = vec![0; used.len()];
        ids.iter().for_each(|&id| counts[id as usize] += 1);
        Ok(Self::Ids {
            ids: Tensor::from_slice(&ids),
            counts,
            raw: used,
        })
    }

    /// From one feature vector \[n, d\] per image (oracle features): brought to unit length,
    /// float32 (spec §8).
    ///
    /// # Errors
    /// [`DiffusionError::Labels`] when the rows are not a matrix, are empty, have one number each,
    /// or hold a number that is not finite.
    pub fn vectors(rows: &Tensor) -> Result<Self, DiffusionError> {
        let size = rows.size();
        if size.len() != 2 || size[0] == 0 || size[1] == 0 {
            return Err(labels_error(
                "condition",
                format!("vectors of shape {size:?}"),
                "[images, width]",
            ));
        }
        if size[1] == 1 {
            return Err(labels_error(
                "condition",
                "vectors of one number, which are 1 or -1 at unit length: all else is lost",
                "at least two numbers, such as its cosine and its sine over the range, or ids",
            ));
        }
        let rows = rows.to_kind(Kind::Float);
        let lengths = rows.norm_scalaropt_dim(2, [1i64].as_slice(), true);
        if lengths.isfinite().all().int64_value(&[]) == 0 {
            return Err(labels_error(
                "condition",
                "vectors that are not finite",
                "finite numbers",
            ));
        }
        Ok(Self::Vectors {
            rows: rows / lengths.clamp_min(1e-12),
        })
    }

    /// From ids that are compact already: every one from 0 to the highest is in use.
    ///
    /// # Errors
    /// [`DiffusionError::Labels`] when an id of 0..=max is unused or one is negative.
    pub fn compact(ids: &[i64]) -> Result<Self, DiffusionError> {
        let condition = Self::compacting(ids)?;
        let highest = ids.iter().copied().max().unwrap_or(-1);
        if condition.label_dim() != highest + 1 {
            let found = format!(
                "ids up to {highest}, {} of them used",
                condition.label_dim()
            );
            return Err(labels_error(
                "condition",
                found,
                "compact ids: every one from 0 to the highest in use",
            ));
        }
        Ok(condition)
    }

    /// Label slots of a network for this condition.
    pub fn label_dim(&self) -> i64 {
        match self {
            Condition::None => 0,
            Condition::Ids { counts, .. } => counts.len() as i64,
            Condition::Vectors { rows } => rows.size()[1],
        }
    }

    /// Checks it against the data set and the network.
    ///
    /// # Errors
    /// [`DiffusionError::Labels`] with both numbers.
    pub fn check(&self, images: i64, label_dim: i64) -> Result<(), DiffusionError> {
        let rows = match self {
            Condition::None => images,
            Condition::Ids { ids, .. } => ids.size()[0],
            Condition::Vectors { rows } => rows.size()[0],
        };
        if rows != images {
            return Err(labels_error(
                "condition",
                format!("{rows} rows"),
                format!("one for each of the {images} images: it belongs to another data set"),
            ));
        }
        if self.label_dim() != label_dim {
            let expected = format!("label_dim {label_dim}, as the network has");
            return Err(labels_error(
                "condition",
                format!("{} label slots", self.label_dim()),
                expected,
            ));
        }
        Ok(())
    }

    /// Label rows \[k, L\] of the images at `indices` (i64 \[k\], on `device`); `None` when
    /// unconditional.
    pub fn rows(&self, indices: &Tensor, kind: Kind, device: Device) -> Option<Tensor> {
        match self {
            Condition::None => None,
            Condition::Ids { ids, counts, .. } => Some(one_hot(
                &ids.index_select(0, indices),
                counts.len() as i64,
                kind,
                device,
            )),
            Condition::Vectors { rows } => Some(rows.index_select(0, indices).to_kind(kind)),
        }
    }

    /// What a sampler draws labels from, by name: of ids `counts` \[L\] i64 and `raw_ids` \[L\] i64
    /// (what each label was called before it was compacted), of vectors `rows` \[n, d\] f32;
    /// nothing when unconditional.
    pub fn label_tensors(&self) -> Vec<(&'static str, Tensor)> {
        match self {
            Condition::None => Vec::new(),
            Condition::Ids { counts, raw, .. } => vec![
                (COUNTS.name, Tensor::from_slice(counts)),
                (RAW_IDS.name, Tensor::from_slice(raw)),
            ],
            Condition::Vectors { rows } => {
                vec![(CONDITION_ROWS.name, rows.shallow_clone())]
            }
        }
    }

    /// One entry per image: ids \[n\] i64 or rows \[n, d\] f32; `None` when unconditional.
    pub(crate) fn values(&self) -> Option<&Tensor> {
        match self {
            Condition::None => None,
            Condition::Ids { ids, .. } => Some(ids),
            Condition::Vectors { rows } => Some(rows),
        }
    }

    /// The same with its tensors on `device`.
    pub fn to_device(self, device: Device) -> Self {
        match self {
            Condition::None => Condition::None,
            Condition::Ids { ids, counts, raw } => Condition::Ids {
                ids: ids.to_device(device),
                counts,
                raw,
            },
            Condition::Vectors { rows } => Condition::Vectors {
                rows: rows.to_device(device),
            },
        }
    }
}

fn labels_error(
    what: &str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> DiffusionError {
    DiffusionError::Labels {
        what: what.into(),
        found: found.into(),
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_ids_leave_no_slot() {
        let Condition::Ids { ids, counts, raw } = Condition::compacting(&[7, 3, 7, 900]).unwrap()
        else {
            panic!("ids")
        };
        assert_eq!(Vec::<i64>::try_from(&ids).unwrap(), [1, 0, 1, 2]);
        assert_eq!((counts, raw), (vec![1, 2, 1], vec![3, 7, 900]));
    }

    #[test]
    fn ids_of_other_data_or_another_network_are_errors() {
        let message = |error: DiffusionError| error.to_string();
        assert_eq!(
            message(Condition::compacting(&[0, -1]).unwrap_err()),
            "condition: id -1, expected ids of at least 0"
        );
        assert!(
            message(Condition::compact(&[0, 2]).unwrap_err())
                .contains("ids up to 2, 2 of them used")
        );
        let condition = Condition::compact(&[0, 1, 1]).unwrap();
        assert!(
            message(condition.check(5, 2).unwrap_err())
                .contains("3 rows, expected one for each of the 5 images")
        );
        assert!(
            message(condition.check(3, 4).unwrap_err())
                .contains("2 label slots, expected label_dim 4")
        );
        assert!(condition.check(3, 2).is_ok());
        let row = condition
            .rows(&Tensor::from_slice(&[2i64]), Kind::Float, Device::Cpu)
            .unwrap();
        assert_eq!(Vec::<f32>::try_from(row.get(0)).unwrap(), [0.0, 1.0]);
    }
}

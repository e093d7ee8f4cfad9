//! A network under measurement, with its labels for the images that it is measured on.

use crate::pictures::Pictures;
use anyhow::{bail, ensure};
use cedm_contract::kinds::cluster::assignments::RAW_IDS;
use cedm_diffusion::{Condition, Network, Views, network::one_hot, weights};
use std::{collections::HashMap, path::Path};
use tch::{Device, Kind, Tensor};

/// A network, its numbers on the device, and its labels.
#[derive(Debug)]
pub struct Subject {
    /// The weight file.
    pub origin: String,
    /// Structure.
    pub network: Network,
    /// Numbers.
    pub views: Views,
    class: Option<Tensor>,
    other_labels: Option<Tensor>,
}

impl Subject {
    /// Reads it and finds its labels for the pictures at `chosen`, i64 \[n\].
    ///
    /// # Errors
    /// When the file cannot be read, its images have another shape, or the condition is none that
    /// it was trained with.
    pub fn new(
        file: &Path,
        pictures: &Pictures,
        condition: &Condition,
        chosen: &Tensor,
        device: Device,
    ) -> anyhow::Result<Self> {
        let (network, parameters) = weights::load(file)?;
        let origin = file.display().to_string();
        let (_, channels, side) = pictures.shape();
        let architecture = &network.architecture;
        ensure!(
            (channels, side) == (architecture.channels, architecture.resolution),
            "the data set holds {side}×{side} images of {channels} channels: the network of \
             {origin} takes {0}×{0} of {1}",
            architecture.resolution,
            architecture.channels
        );
        let beside = file.with_file_name("condition.safetensors");
        let trained = if beside.exists() {
            weights::read(&beside)?
        } else {
            HashMap::new()
        };
        let labels = labels(&origin, condition, trained, architecture.label_dim, chosen)?;
        let other_labels = labels.as_ref().and_then(|rows| {
            let other = others(rows)?;
            Some(rows.index_select(0, &other))
        });
        Ok(Self {
            views: parameters
                .to(Kind::Float, device)
                .views(&network.layout, None),
            origin,
            network,
            class: labels,
            other_labels,
        })
    }

    /// Whether it is conditional.
    pub fn takes_labels(&self) -> bool {
        self.class.is_some()
    }

    /// Label rows of the images, \[n, L\] f32 on the CPU.
    pub fn class(&self) -> Option<&Tensor> {
        self.class.as_ref()
    }

    /// Wrong ones, each that of another image of the set; nothing where all images share one.
    pub fn other_labels(&self) -> Option<&Tensor> {
        self.other_labels.as_ref()
    }

    /// Expected standard deviation of the data, which the loss is weighted for.
    pub fn sigma_data(&self) -> f64 {
        self.network.architecture.sigma_data
    }
}

/// Label rows \[n, `label_dim`\] of the chosen images, numbered as in training: by what
/// `condition.safetensors` beside the weights says, where it is there. Nothing for an unconditional
/// network.
fn labels(
    origin: &str,
    condition: &Condition,
    mut trained: HashMap<String, Tensor>,
    label_dim: i64,
    chosen: &Tensor,
) -> anyhow::Result<Option<Tensor>> {
    let (known, vectors) = (trained.remove(RAW_IDS.name), trained.contains_key("rows"));
    match condition {
        _ if label_dim == 0 => Ok(None),
        Condition::None => bail!(
            "the network of {origin} takes {label_dim} labels: say which (--ids, --labels, …)"
        ),
        Condition::Ids { ids, raw, .. } => {
            ensure!(
                !vectors,
                "the network of {origin} was trained with vectors: ids do not fit"
            );
            let known =
                known.map_or_else(|| Ok(raw.clone()), |known| Vec::<i64>::try_from(&known))?;
            ensure!(
                known.len() as i64 == label_dim,
                "{} different ids: the network of {origin} has {label_dim} labels",
                known.len()
            );
            let slot = |position: i64| {
                let id = raw[position as usize];
                known
                    .binary_search(&id)
                    .map(|slot| slot as i64)
                    .map_err(|_| id)
            };
            let slots: Result<Vec<i64>, i64> = Vec::<i64>::try_from(&ids.index_select(0, chosen))?
                .into_iter()
                .map(slot)
                .collect();
            match slots {
                Ok(slots) => Ok(Some(one_hot(
                    &Tensor::from_slice(&slots),
                    label_dim,
                    Kind::Float,
                    Device::Cpu,
                ))),
                Err(id) => bail!(
                    "id {id} of these images: the network of {origin} was trained without it, it \
                     is of another condition"
                ),
            }
        }
        Condition::Vectors { rows } => {
            ensure!(
                known.is_none(),
                "the network of {origin} was trained with ids: vectors do not fit"
            );
            ensure!(
                rows.size()[1] == label_dim,
                "vectors of width {}: the network of {origin} takes {label_dim}",
                rows.size()[1]
            );
            Ok(Some(rows.index_select(0, chosen)))
        }
    }
}

/// For each row the next one (in a circle) that differs, i64 \[n\]; nothing when all are the same.
fn others(rows: &Tensor) -> Option<Tensor> {
    let n = rows.size()[0];
    // Where the following row is another one; a run of equal rows jumps to its end.
    let changes =
        Vec::<bool>::try_from(rows.ne_tensor(&rows.roll([-1], [0])).any_dim(1, false)).ok()?;
    let last = (0..n).rev().find(|&index| changes[index as usize])?;
    let mut next = vec![0i64; n as usize];
    // The rows after the last change belong to the run that begins there, around the circle.
    let mut target = (0..=last)
        .find(|&index| changes[index as usize])
        .map(|index| (index + 1) % n)?;
    for index in (0..n).rev() {
        if changes[index as usize] {
            target = (index + 1) % n;
        }
        next[index as usize] = target;
    }
    Some(Tensor::from_slice(&next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_labels_are_wrong() {
        let next = |ids: &[i64]| {
            let rows = one_hot(&Tensor::from_slice(ids), 4, Kind::Float, Device::Cpu);
            others(&rows).map(|next| Vec::<i64>::try_from(&next).unwrap())
        };
        assert_eq!(next(&[0, 1, 2]), Some(vec![1, 2, 0]));
        assert_eq!(next(&[0, 0, 3, 0, 0]), Some(vec![2, 2, 3, 2, 2]));
        assert_eq!(next(&[1, 1, 2, 2]), Some(vec![2, 2, 0, 0]));
        assert_eq!((next(&[3, 3]), next(&[1])), (None, None));
    }

    #[test]
    fn labels_keep_the_numbers_of_training() {
        let chosen = Tensor::from_slice(&[2i64, 0]);
        let known = || HashMap::from([(RAW_IDS.to_string(), Tensor::from_slice(&[2i64, 5, 9]))]);
        // A held-out set lacks cluster 5: its ids compact to two.
        let condition = Condition::compacting(&[9, 2, 2]).unwrap();
        let rows = labels("a", &condition, known(), 3, &chosen)
            .unwrap()
            .unwrap();
        assert_eq!(Vec::<i64>::try_from(rows.argmax(1, false)).unwrap(), [0, 2]);
        let says = |condition: &Condition, trained, width| {
            labels("a", condition, trained, width, &chosen)
                .unwrap_err()
                .to_string()
        };
        let unknown = Condition::compacting(&[9, 2, 3]).unwrap();
        assert!(says(&unknown, known(), 3).starts_with("id 3 of these images"));
        assert!(says(&condition, HashMap::new(), 3).starts_with("2 different ids"));
        assert!(says(&Condition::None, known(), 3).contains("takes 3 labels"));
        let vectors =
            Condition::vectors(&Tensor::ones([3, 4], (Kind::Float, Device::Cpu))).unwrap();
        assert!(says(&vectors, known(), 3).contains("trained with ids"));
        assert!(says(&vectors, HashMap::new(), 3).starts_with("vectors of width 4"));
        assert_eq!(
            labels("a", &vectors, HashMap::new(), 4, &chosen)
                .unwrap()
                .unwrap()
                .size(),
            [2, 4]
        );
        let rows = HashMap::from([("rows".to_owned(), Tensor::from_slice(&[0i64]))]);
        assert!(says(&condition, rows, 3).contains("trained with vectors"));
        assert!(
            labels("a", &Condition::None, HashMap::new(), 0, &chosen)
                .unwrap()
                .is_none()
        );
    }
}

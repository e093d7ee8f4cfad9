//! A network whose loss is measured, with its labels for the images it is measured on.

use crate::pictures::Pictures;
use anyhow::{bail, ensure};
use cedm_contract::kinds::cluster::assignments::RAW_IDS;
use cedm_diffusion::{
    Condition, Network, Views,
    network::one_hot,
    weights::{self, CONDITION_ROWS},
};
use cedm_torch::tensor_files;
use std::{collections::HashMap, path::Path};
use tch::{Device, Kind, Tensor};

/// A network with its weights on the device, and its labels for the images.
#[derive(Debug)]
pub struct MeasuredNetwork {
    /// Path of the weight file, for error messages.
    pub origin: String,
    /// The structure that the weights fit.
    pub network: Network,
    /// Its weights, float32 on the device.
    pub views: Views,
    class: Option<Tensor>,
    other_labels: Option<Tensor>,
}

impl MeasuredNetwork {
    /// Reads a weight file, and makes its labels for the images with indices `chosen`, i64 \[n\].
    ///
    /// # Errors
    /// If the file cannot be read, its network takes images of another shape, or the condition does
    /// not fit the one it was trained with.
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
        let beside = file.with_file_name(weights::CONDITION_FILE);
        let trained = if beside.exists() {
            tensor_files::read(&beside)?
        } else {
            HashMap::new()
        };
        let labels = labels(&origin, condition, trained, architecture.label_dim, chosen)?;
        let other_labels = labels.as_ref().and_then(|rows| {
            let other = next_different(rows)?;
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

    /// Whether the network is conditional.
    pub fn takes_labels(&self) -> bool {
        self.class.is_some()
    }

    /// Label rows of the images, f32 \[n, L\] on the CPU; `None` for an unconditional network.
    pub fn class(&self) -> Option<&Tensor> {
        self.class.as_ref()
    }

    /// Wrong label rows, each that of another image with another label; `None` if all images have
    /// the same.
    pub fn other_labels(&self) -> Option<&Tensor> {
        self.other_labels.as_ref()
    }

    /// Expected standard deviation of the data, on which the weight of the loss depends.
    pub fn sigma_data(&self) -> f64 {
        self.network.architecture.sigma_data
    }
}

/// Label rows f32 \[n, `label_dim`\] of the chosen images, or `None` for an unconditional network.
/// Ids are numbered as in training, according to `trained`, the tensors of `condition.safetensors`
/// beside the weights (empty if there is no such file).
fn labels(
    origin: &str,
    condition: &Condition,
    mut trained: HashMap<String, Tensor>,
    label_dim: i64,
    chosen: &Tensor,
) -> anyhow::Result<Option<Tensor>> {
    let (known, vectors) = (
        trained.remove(RAW_IDS.name),
        trained.contains_key(CONDITION_ROWS.name),
    );
    match condition {
        _ if label_dim == 0 => Ok(None),
        Condition::None => bail!(
            "the network of {origin} takes {label_dim} labels: give them by --ids, --labels, \
             --coarse-labels, --vectors or --text-embeddings"
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
                    "id {id} of these images: the network of {origin} was trained without it, on \
                     another condition"
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

/// For each row the index of the next row (in a circle) that differs from it, i64 \[n\]; `None` if
/// all rows are equal.
fn next_different(rows: &Tensor) -> Option<Tensor> {
    let n = rows.size()[0];
    // Whether each row differs from the one after it: the rows of a run of equal ones all point to
    // the first row after the run.
    let changes =
        Vec::<bool>::try_from(rows.ne_tensor(&rows.roll([-1], [0])).any_dim(1, false)).ok()?;
    let last = (0..n).rev().find(|&index| changes[index as usize])?;
    let mut next = vec![0i64; n as usize];
    // The rows after the last change belong to the run that continues at row 0.
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
    fn other_labels_are_never_the_true_ones() {
        let next = |ids: &[i64]| {
            let rows = one_hot(&Tensor::from_slice(ids), 4, Kind::Float, Device::Cpu);
            next_different(&rows).map(|next| Vec::<i64>::try_from(&next).unwrap())
        };
        assert_eq!(next(&[0, 1, 2]), Some(vec![1, 2, 0]));
        assert_eq!(next(&[0, 0, 3, 0, 0]), Some(vec![2, 2, 3, 2, 2]));
        assert_eq!(next(&[1, 1, 2, 2]), Some(vec![2, 2, 0, 0]));
        assert_eq!((next(&[3, 3]), next(&[1])), (None, None));
    }

    #[test]
    fn ids_are_numbered_as_in_training() {
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
        let rows = HashMap::from([(CONDITION_ROWS.name.to_owned(), Tensor::from_slice(&[0i64]))]);
        assert!(says(&condition, rows, 3).contains("trained with vectors"));
        assert!(
            labels("a", &Condition::None, HashMap::new(), 0, &chosen)
                .unwrap()
                .is_none()
        );
    }
}

//! What is stored of a clustering, the same for every method: the tensors of
//! `assignments.safetensors` and the job's result.

use cedm_contract::kinds::cluster::{ClusterQuality, ClusterResult, assignments};
use cedm_maths::{
    MathsError,
    partition::{Usage, accuracy, agreement, compact},
};
use tch::{Kind, Tensor};

/// Cluster ids, with what their method reports about them.
#[derive(Debug)]
pub struct Clustering {
    /// Number of clusters that was requested, C; fewer may be used.
    pub slots: u32,
    /// Cluster id of each image as the method assigned it, below C; some may be unused.
    pub raw_ids: Vec<i64>,
    /// Maximum log-softmax of each image, f32 \[n\], for TEMI.
    pub log_confidence: Option<Tensor>,
    /// The teacher of the best head under upstream names, for TEMI.
    pub heads: Option<Vec<(String, Tensor)>>,
    /// Mean loss of every head in every epoch, for TEMI.
    pub curve: Vec<Vec<f64>>,
    /// Index of the best head and its mean loss in the last epoch, for TEMI.
    pub best_head: Option<(u32, f64)>,
    /// Share of neighbours in the same cluster, if the method measured it itself.
    pub neighbour_agreement: Option<f64>,
    /// Sum of squared distances to the nearest centroid, for k-means.
    pub inertia: Option<f64>,
    /// Centroids f64 \[C, D\], for k-means.
    pub centroids: Option<Tensor>,
    /// Speed and iterations, for summaries and benchmarks; not stored.
    pub statistics: RunStatistics,
}

/// How a computation went.
#[derive(Debug, Default)]
pub struct RunStatistics {
    /// Optimiser steps of TEMI per second, without reading and set-up.
    pub steps_per_second: Option<f64>,
    /// Inertia of every start of k-means.
    pub inertias: Vec<f64>,
    /// Number of iterations of the k-means start that was kept.
    pub iterations: Option<u32>,
    /// Duration of k-means in seconds, without reading.
    pub kmeans_seconds: Option<f64>,
}

impl Clustering {
    /// A clustering of which only the ids are known.
    pub fn from_ids(raw_ids: Vec<i64>, slots: u32) -> Self {
        let (log_confidence, heads, best_head, neighbour_agreement, inertia, centroids) =
            (None, None, None, None, None, None);
        Self {
            slots,
            raw_ids,
            log_confidence,
            heads,
            curve: Vec::new(),
            best_head,
            neighbour_agreement,
            inertia,
            centroids,
            statistics: RunStatistics::default(),
        }
    }
}

/// What the quality of a clustering is measured against, as far as it is known.
#[derive(Debug, Default)]
pub struct QualityInputs<'a> {
    /// True label of each image, −1 if it has none.
    pub labels: Option<&'a [i64]>,
    /// Indices of the neighbours of each image, integers \[n, k\].
    pub neighbours: Option<&'a Tensor>,
}

/// A clustering ready to be stored.
#[derive(Debug)]
pub struct Artefact {
    /// The tensors of `assignments.safetensors`.
    pub tensors: Vec<(String, Tensor)>,
    /// The job's result: utilisation, entropy and quality.
    pub result: ClusterResult,
    /// Compact ids and their counts.
    pub usage: Usage,
}

impl Artefact {
    /// Compacts the ids and measures the clustering.
    ///
    /// # Errors
    /// If an id is negative, there are more than C different ids, or there is not one label per
    /// image.
    pub fn new(
        clustering: &Clustering,
        quality_inputs: &QualityInputs,
    ) -> Result<Self, MathsError> {
        // A network's condition is one-hot of width U: ids of empty clusters would be inputs that
        // training never sees (spec §4.6).
        let (ids, usage) = compact(&clustering.raw_ids, clustering.slots)?;
        let compact_ids = Tensor::from_slice(&ids);
        let counts: Vec<i64> = usage.counts.iter().map(|&count| count as i64).collect();
        let mut tensors = vec![
            (
                assignments::RAW_IDS.to_string(),
                Tensor::from_slice(&clustering.raw_ids),
            ),
            (assignments::IDS.to_string(), compact_ids.shallow_clone()),
            (assignments::COUNTS.to_string(), Tensor::from_slice(&counts)),
            (
                assignments::PRIOR.to_string(),
                Tensor::from_slice(&usage.prior),
            ),
        ];
        if let Some(confidence) = &clustering.log_confidence {
            tensors.push((
                assignments::CONFIDENCE.to_string(),
                confidence.shallow_clone(),
            ));
        }
        if let Some(centroids) = &clustering.centroids {
            tensors.push((
                assignments::CENTROIDS.to_string(),
                centroids.shallow_clone(),
            ));
        }
        // In float64: a float32 mean over a million probabilities near 1 loses its last digits.
        let mean_confidence = clustering.log_confidence.as_ref().map(|log| {
            log.to_kind(Kind::Double)
                .exp()
                .mean(Kind::Double)
                .double_value(&[])
        });
        let result = ClusterResult {
            count: ids.len() as u64,
            clusters: clustering.slots,
            used: usage.used(),
            utilisation: usage.utilisation(),
            marginal_entropy: usage.marginal_entropy(),
            kl_uniform: usage.kl_uniform(),
            smallest: usage.counts.iter().copied().min().unwrap_or(0),
            largest: usage.counts.iter().copied().max().unwrap_or(0),
            mean_confidence,
            neighbour_agreement: quality_inputs
                .neighbours
                .map(|neighbours| neighbour_agreement(&compact_ids, neighbours))
                .or(clustering.neighbour_agreement),
            inertia: clustering.inertia,
            best_head: clustering.best_head,
            quality: quality_inputs
                .labels
                .map(|labels| quality(labels, &ids))
                .transpose()?
                .flatten(),
        };
        Ok(Self {
            tensors,
            result,
            usage,
        })
    }
}

/// Share of (image, neighbour) pairs in the same cluster.
fn neighbour_agreement(ids: &Tensor, neighbours: &Tensor) -> f64 {
    let theirs = ids
        .index_select(0, &neighbours.to_kind(Kind::Int64).contiguous().view(-1))
        .view_as(neighbours);
    theirs
        .eq_tensor(&ids.unsqueeze(1))
        .to_kind(Kind::Double)
        .mean(Kind::Double)
        .double_value(&[])
}

/// Agreement of ids and labels over the images that have a label; `None` if none has.
fn quality(labels: &[i64], ids: &[i64]) -> Result<Option<ClusterQuality>, MathsError> {
    if labels.len() != ids.len() {
        return Ok(agreement(labels, ids).map(|_| None)?);
    }
    let (labels, ids): (Vec<i64>, Vec<i64>) = labels
        .iter()
        .zip(ids)
        // −1 marks an image without a label; as a class of its own it would be scored.
        .filter(|&(&label, _)| label >= 0)
        .unzip();
    if labels.is_empty() {
        return Ok(None);
    }
    let found = agreement(&labels, &ids)?;
    Ok(Some(ClusterQuality {
        nmi: found.nmi,
        anmi: found.anmi,
        ari: found.ari,
        acc: accuracy(&labels, &ids)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_compacted_and_counted() {
        let artefact = Artefact::new(
            &Clustering::from_ids(vec![5, 0, 5, 2], 8),
            &QualityInputs::default(),
        )
        .unwrap();
        let tensor = |name: &str| {
            artefact
                .tensors
                .iter()
                .find(|(found, _)| found == name)
                .unwrap()
                .1
                .shallow_clone()
        };
        assert_eq!(
            Vec::<i64>::try_from(tensor(assignments::IDS.name)).unwrap(),
            [2, 0, 2, 1]
        );
        assert_eq!(
            Vec::<i64>::try_from(tensor(assignments::RAW_IDS.name)).unwrap(),
            [5, 0, 5, 2]
        );
        assert_eq!(
            Vec::<i64>::try_from(tensor(assignments::COUNTS.name)).unwrap(),
            [1, 1, 2]
        );
        assert_eq!(
            Vec::<f64>::try_from(tensor(assignments::PRIOR.name)).unwrap(),
            [0.25, 0.25, 0.5]
        );
        let result = artefact.result;
        assert_eq!(
            (
                result.used,
                result.utilisation,
                result.smallest,
                result.largest
            ),
            (3, 0.375, 1, 2)
        );
        assert_eq!(result.quality, None);
    }

    #[test]
    fn quality_is_measured_by_neighbours_and_labels() {
        let neighbours = Tensor::from_slice2(&[[1i32, 2], [0, 3], [3, 0], [2, 1]]);
        let inputs = QualityInputs {
            labels: Some(&[7, 7, 9, -1]),
            neighbours: Some(&neighbours),
        };
        let result = Artefact::new(&Clustering::from_ids(vec![0, 0, 1, 1], 2), &inputs)
            .unwrap()
            .result;
        assert_eq!(result.neighbour_agreement, Some(0.5));
        let quality = result.quality.unwrap();
        assert_eq!((quality.nmi, quality.acc), (1.0, 1.0));
    }

    #[test]
    fn labels_of_another_length_are_rejected() {
        let inputs = QualityInputs {
            labels: Some(&[0, 1]),
            ..QualityInputs::default()
        };
        let error = Artefact::new(&Clustering::from_ids(vec![0, 0, 1], 2), &inputs)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "number of labels is 2, expected one for each of the 3 cluster ids, and at least one"
        );
    }
}

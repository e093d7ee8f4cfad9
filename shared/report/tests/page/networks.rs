//! The networks of the small sweep: snapshots, sample sets and scores.

use super::{
    artefacts::StoredArtefacts,
    digits::{IMAGES, SET, artefact},
};
use cedm_contract::{
    ShardRef,
    kinds::{
        sample_set::SampleSetResult,
        score::{Score, ScoreResult},
        train::TrainResult,
    },
};
use cedm_sweep::outcome::*;
use std::collections::BTreeMap;

/// A network conditioned on a clustering, or on nothing.
pub fn network(
    artefacts: &mut StoredArtefacts,
    clustering: Option<&ClusteringOutcome>,
) -> CellOutcome {
    let label = match clustering {
        None => "unconditional".to_owned(),
        Some(one) if one.method == "ground_truth" => "ground truth".to_owned(),
        Some(one) => format!("{} C={}", one.name, one.clusters),
    };
    let mut snapshot = |kimg| {
        Snapshot {
            label: &label,
            clustering,
            kimg,
        }
        .outcome(artefacts)
    };
    let snapshots = [6, 12, 24].map(&mut snapshot).into();
    CellOutcome {
        clustering: clustering.map_or("none", |one| &one.name).to_owned(),
        method: clustering.map_or("none", |one| &one.method).to_owned(),
        clusters: clustering.map(|one| one.clusters),
        seed: None,
        used: clustering.map(|one| one.result.used),
        utilisation: clustering.map(|one| one.result.utilisation),
        condition: clustering.map(|one| one.artefact.clone()),
        snapshots,
        label,
    }
}

struct Snapshot<'a> {
    label: &'a str,
    clustering: Option<&'a ClusteringOutcome>,
    kimg: u64,
}

impl Snapshot<'_> {
    fn is_last(&self) -> bool {
        self.kimg == 24
    }

    fn outcome(&self, artefacts: &mut StoredArtefacts) -> SnapshotOutcome {
        let sets = 0..if self.is_last() { 3 } else { 1 };
        let sets: Vec<SetOutcome> = sets.map(|index| self.set(artefacts, index)).collect();
        SnapshotOutcome {
            nimg: self.kimg * 1000,
            last: self.is_last(),
            training: Some(training(artefacts, self.label, self.kimg)),
            on_equal_terms: summary(&sets),
            summary: summary(&sets),
            sets,
            curve_set: None,
            uniform: BTreeMap::new(),
            uniform_sets: Vec::new(),
        }
    }

    fn set(&self, artefacts: &mut StoredArtefacts, index: u32) -> SetOutcome {
        let name = format!("{}-{}-{index}", self.label, self.kimg);
        let first_seed = u64::from(index) * SET;
        let has_confidence = self.label == "temi C=20" && self.is_last() && index == 0;
        let confidence = has_confidence.then(|| {
            let all = (0..SET).map(|row| -0.001 * (row * 37 % SET) as f32);
            artefacts.confidence("confidence", &all.collect::<Vec<f32>>())
        });
        let scores = ScoresOutcome {
            artefact: artefact(&format!("score-{name}")),
            result: ScoreResult {
                count: SET,
                reference_count: IMAGES,
                scores: self.scores(index),
            },
            confidence,
        };
        let samples = SamplesOutcome {
            artefact: artefact(&name),
            result: SampleSetResult {
                count: SET,
                channels: 1,
                resolution: 8,
                first_seed,
                shards: self.shards(artefacts, &name),
            },
        };
        SetOutcome {
            index,
            images: SET,
            first_seed,
            samples: Some(samples),
            scores: [("pixels".to_owned(), scores)].into(),
        }
    }

    /// Digits that get cleaner with training; more noise without a condition.
    fn shards(&self, artefacts: &mut StoredArtefacts, name: &str) -> Vec<ShardRef> {
        let noise = (240 / self.kimg) as u8;
        let used = self.clustering.map(|one| u64::from(one.result.used));
        let content = |row: u64| match used {
            Some(used) => (row * 7 % used, noise),
            None => (row * 3 % 10, 3 * noise),
        };
        let half = SET / 2;
        let shard = |n| {
            let name = format!("{name}-{n}");
            artefacts.images(&name, n * half, half, content, used.is_some())
        };
        [0, 1].map(shard).into()
    }

    fn scores(&self, set: u32) -> BTreeMap<String, Score> {
        let fd = self.distance(set);
        let mut values = vec![
            ("fd", fd),
            ("precision", 0.95 - fd / 4.0),
            ("recall", 0.4 + fd / 5.0),
            ("coverage", 0.9 - fd / 3.0),
        ];
        if let Some(clustering) = self.clustering {
            values.push(("ufd", 0.1 + 0.05 * f64::from(clustering.clusters).ln()));
        }
        let score = |value, missing| Score {
            value,
            std: None,
            missing,
        };
        let scores = values.into_iter();
        let mut scores: BTreeMap<String, Score> = scores
            .map(|(name, value)| (name.to_owned(), score(Some(value), None)))
            .collect();
        let few = "needs 100 subsets, found 500 images".to_owned();
        scores.insert("kid".to_owned(), score(None, Some(few)));
        scores
    }

    /// A plausible score: best at C = 20, better with training, a little different for each set.
    fn distance(&self, set: u32) -> f64 {
        let lag = match self.clustering.map_or("none", |one| &one.method) {
            "kmeans" => 0.02,
            "ground_truth" => 0.06,
            _ => 0.0,
        };
        let clusters = self.clustering.map(|one| f64::from(one.clusters));
        let gap = clusters.map_or(1.3, |clusters| (clusters / 20.0).ln().abs());
        lag + 0.55 + 0.2 * gap + 3.0 / self.kimg as f64 + 0.012 * f64::from(set)
    }
}

fn training(artefacts: &mut StoredArtefacts, label: &str, kimg: u64) -> TrainingOutcome {
    let from = if kimg == 6 { 0 } else { kimg / 2 };
    let at: Vec<f64> = (from * 10..kimg * 10)
        .map(|tick| (tick as f64 + 1.0) / 10.0)
        .collect();
    let column = |value: fn(f64) -> f64| at.iter().map(|kimg| value(*kimg)).collect::<Vec<f64>>();
    let curve = serde_json::json!({
        "kimg": at,
        "loss": column(|kimg| 0.2 + 0.6 / (1.0 + kimg)),
        "gradient_norm": column(|kimg| 1.0 / kimg),
        "lr": column(|kimg| (kimg / 5.0).min(1.0) * 1e-3),
        "images_per_second": column(|kimg| 280.0 + (10.0 * kimg) % 7.0),
    });
    TrainingOutcome {
        artefact: artefact(&format!("train-{label}-{kimg}")),
        result: TrainResult {
            nimg: kimg * 1000,
            steps: kimg * 8,
            label_dim: 10,
            parameters: 1_482_113,
            loss: Some(0.31),
        },
        weights: None,
        curve: Some(artefacts.put(
            &format!("curve-{label}-{kimg}"),
            curve.to_string().into_bytes(),
        )),
        seconds: kimg as f64 * 3.0,
    }
}

fn summary(sets: &[SetOutcome]) -> BTreeMap<String, Summary> {
    let mut all: BTreeMap<String, Vec<(u32, f64)>> = BTreeMap::new();
    for set in sets {
        for (name, score) in &set.scores["pixels"].result.scores {
            if let Some(value) = score.value {
                all.entry(format!("pixels/{name}"))
                    .or_default()
                    .push((set.index, value));
            }
        }
    }
    let folded = |values: Vec<(u32, f64)>| {
        let mean = values.iter().map(|(_, v)| v).sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|(_, v)| (v - mean).powi(2)).sum::<f64>();
        let std = (values.len() > 1).then(|| (square / (values.len() - 1) as f64).sqrt());
        Summary {
            mean,
            std,
            values,
            images: SET,
            reference_images: IMAGES,
        }
    };
    all.into_iter()
        .map(|(key, values)| (key, folded(values)))
        .collect()
}

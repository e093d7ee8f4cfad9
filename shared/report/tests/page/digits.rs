//! A small sweep with everything a report shows, its artefacts in memory: digits drawn from a 5×7
//! font, a bound search, four granularities of TEMI, two of k-means, ground truth, no condition;
//! one cell that failed.

use super::{
    artefacts::{ArtefactCache, digest, key},
    story::{answer, costs, lineage},
};
use cedm_contract::{
    SweepId,
    kinds::{
        bound::{BoundDecision, BoundResult, Probe},
        cluster::{ClusterQuality, ClusterResult},
        feature_evaluation::FeatureEvaluationResult,
        import::ImageSet,
        sample_set::SampleSetResult,
        score::{Score, ScoreResult},
        train::TrainResult,
    },
};
use cedm_sweep::{SweepSpec, outcome::*};
use std::collections::BTreeMap;

const FILE: &str = include_str!("digits.toml");
const IMAGES: u64 = 600;
pub(super) const SET: u64 = 500;

/// The sweep and its artefacts.
pub fn sweep() -> (SweepOutcome, ArtefactCache) {
    let mut artefacts = ArtefactCache::default();
    let set = image_set(&mut artefacts);
    let mut clusterings = Vec::new();
    for (name, method, clusters) in [
        ("temi", "temi", 5u32),
        ("temi", "temi", 10),
        ("temi", "temi", 20),
        ("temi", "temi", 40),
        ("temi", "temi", 80),
        ("kmeans", "kmeans", 10),
        ("kmeans", "kmeans", 20),
        ("ground-truth", "ground_truth", 10),
    ] {
        clusterings.push(clustering(&mut artefacts, name, method, clusters));
    }
    let mut cells: Vec<CellOutcome> = clusterings
        .iter()
        .filter(|c| c.trained)
        .map(|c| cell(&mut artefacts, Some(c)))
        .collect();
    cells.push(cell(&mut artefacts, None));
    let failed = cells
        .iter_mut()
        .find(|cell| cell.label == "temi C=40")
        .unwrap();
    failed
        .snapshots
        .last_mut()
        .unwrap()
        .sets
        .iter_mut()
        .for_each(|set| {
            set.scores.clear();
        });
    failed.snapshots.last_mut().unwrap().summary.clear();
    failed.snapshots.last_mut().unwrap().on_equal_terms.clear();
    let lineage = lineage(&cells, &clusterings);
    let answer = answer(&cells);
    let outcome = SweepOutcome {
        sweep: "digits-test".parse::<SweepId>().unwrap(),
        submitted_ms: 1_700_000_000_000,
        finished_ms: Some(1_700_000_480_000),
        toml: FILE.to_owned(),
        spec: SweepSpec::parse(FILE).unwrap(),
        state: SweepState::Incomplete,
        jobs: JobCounts {
            done: lineage.len() as u64,
            cached: 3,
            dead: 1,
            ..JobCounts::default()
        },
        features: Some(FeaturesOutcome {
            extractor: "pca".to_owned(),
            dim: 32,
            adapted: None,
            judged: Some(FeatureEvaluationResult {
                count: IMAGES,
                dim: 32,
                classes: 10,
                knn_accuracy: 0.9733,
                probe_accuracy: 0.95,
            }),
        }),
        images: Some(ImagesOutcome {
            name: "digits".to_owned(),
            artefact: artefact("import"),
            set,
        }),
        bounds: vec![bound(&clusterings)],
        clusterings,
        cells,
        answer: Some(answer),
        missing: vec![Missing {
            what: "score temi C=40 at 24 kimg, set 0".to_owned(),
            reason: "features of shard 2 hold 3 values that are not finite, expected none"
                .to_owned(),
            key: Some(key("dead")),
            pending: false,
        }],
        costs: costs(&lineage),
        lineage,
    };
    (outcome, artefacts)
}

pub(super) fn artefact(name: &str) -> Artefact {
    Artefact {
        key: key(name),
        digest: digest(name),
    }
}

fn image_set(artefacts: &mut ArtefactCache) -> ImageSet {
    let shards = (0..2)
        .map(|shard| {
            artefacts.images(
                &format!("images-{shard}"),
                shard * 300,
                300,
                |row| (row % 10, 40),
                true,
            )
        })
        .collect();
    ImageSet {
        count: IMAGES,
        channels: 1,
        resolution: 8,
        classes: 10,
        coarse_classes: 0,
        class_names: (0..10).map(|class| class.to_string()).collect(),
        content: digest("content"),
        shards,
    }
}

fn clustering(
    artefacts: &mut ArtefactCache,
    name: &str,
    method: &str,
    clusters: u32,
) -> ClusteringOutcome {
    let used = if clusters > 40 {
        clusters * 3 / 4
    } else {
        clusters.min(clusters * 39 / 40 + 1)
    };
    let spread = i64::from(used);
    // Classes stay together, a few images stray.
    let ids: Vec<i64> = (0..IMAGES as i64)
        .map(|row| {
            if method == "ground_truth" {
                return row % 10;
            }
            // Lower clusters take more than their share, and a few images stray to other classes.
            let slots = (spread / 10).max(1);
            let slot = ((row / 10 % 7) * (row / 10 % 7) / 7).min(slots - 1);
            if row % 17 == 3 {
                row * 7 % spread
            } else {
                // The numbers of clusters tell nothing of classes.
                (row % 10 * 7 + 5 + 10 * slot) % spread
            }
        })
        .collect();
    let mut counts = vec![0i64; used as usize];
    ids.iter().for_each(|id| counts[*id as usize] += 1);
    let confidence: Vec<f32> = ids.iter().map(|id| -0.02 * (*id as f32 + 1.0)).collect();
    let label = format!("{name}-{clusters}");
    let assignments = artefacts.assignments(
        &label,
        &ids,
        &counts,
        (method == "temi").then_some(&confidence[..]),
    );
    let trained = clusters <= 40;
    ClusteringOutcome {
        name: name.to_owned(),
        method: method.to_owned(),
        clusters,
        seed: 0,
        lower_bound: false,
        artefact: artefact(&label),
        result: ClusterResult {
            count: IMAGES,
            clusters,
            used,
            utilisation: f64::from(used) / f64::from(clusters),
            marginal_entropy: f64::from(used).ln() * 0.98,
            kl_uniform: 0.04,
            smallest: *counts.iter().min().unwrap() as u64,
            largest: *counts.iter().max().unwrap() as u64,
            mean_confidence: (method == "temi").then_some(0.93),
            neighbour_agreement: (method == "temi").then_some(0.88),
            inertia: (method == "kmeans").then_some(812_345.6),
            best_head: None,
            quality: Some(ClusterQuality {
                nmi: 0.81,
                anmi: 0.8,
                ari: 0.72,
                acc: 0.84,
            }),
        },
        assignments: Some(assignments),
        trained,
    }
}

/// A plausible score: best at C = 20, better with training, a little different for each set.
fn distance(name: &str, clusters: Option<u32>, kimg: u64, set: u32) -> f64 {
    let lag = if name == "kmeans" {
        0.02
    } else if name == "ground-truth" {
        0.06
    } else {
        0.0
    };
    let gap = clusters.map_or(1.3, |c| (f64::from(c) / 20.0).ln().abs());
    lag + 0.55 + 0.2 * gap + 3.0 / kimg as f64 + 0.012 * f64::from(set)
}

fn cell(artefacts: &mut ArtefactCache, clustering: Option<&ClusteringOutcome>) -> CellOutcome {
    let clusters = clustering.map(|c| c.clusters);
    let name = clustering.map_or("none", |c| c.name.as_str());
    let label = clusters.map_or("unconditional".to_owned(), |c| {
        if name == "ground-truth" {
            "ground truth".to_owned()
        } else {
            format!("{name} C={c}")
        }
    });
    let (used, name_of) = (clustering.map(|c| c.result.used), name);
    let snapshots = [6u64, 12, 24].map(|kimg| {
        let last = kimg == 24;
        let sets: Vec<SetOutcome> = (0..if last { 3 } else { 1 })
            .map(|index| {
                let first_seed = u64::from(index) * SET;
                let blur = (240 / kimg) as u8;
                let name = format!("{label}-{kimg}-{index}");
                let labelled = used.is_some();
                let wide = u64::from(used.unwrap_or(10));
                let shards = (0..2)
                    .map(|shard| {
                        artefacts.images(
                            &format!("{name}-{shard}"),
                            shard * 250,
                            250,
                            |row| {
                                if labelled {
                                    (row * 7 % wide, blur)
                                } else {
                                    (row * 3 % 10, 3 * blur)
                                }
                            },
                            labelled,
                        )
                    })
                    .collect();
                let value = |value: f64| Score {
                    value: Some(value),
                    std: None,
                    missing: None,
                };
                let fd = distance(name_of, clusters, kimg, index);
                let mut scores: BTreeMap<String, Score> = [
                    ("fd", fd),
                    ("precision", 0.95 - fd / 4.0),
                    ("recall", 0.4 + fd / 5.0),
                    ("coverage", 0.9 - fd / 3.0),
                ]
                .map(|(n, v)| (n.to_owned(), value(v)))
                .into();
                let few = Score {
                    value: None,
                    std: None,
                    missing: Some("needs 100 subsets, found 500 images".to_owned()),
                };
                scores.insert("kid".to_owned(), few);
                if let Some(clusters) = clusters {
                    scores.insert(
                        "ufd".to_owned(),
                        value(0.1 + 0.05 * f64::from(clusters).ln()),
                    );
                }
                let result = ScoreResult {
                    count: SET,
                    reference_count: IMAGES,
                    scores,
                };
                SetOutcome {
                    index,
                    images: SET,
                    first_seed,
                    samples: Some(SamplesOutcome {
                        artefact: artefact(&name),
                        result: SampleSetResult {
                            count: SET,
                            channels: 1,
                            resolution: 8,
                            first_seed,
                            shards,
                        },
                    }),
                    scores: [(
                        "pixels".to_owned(),
                        ScoresOutcome {
                            artefact: artefact(&format!("score-{name}")),
                            result,
                            confidence: (label == "temi C=20" && last && index == 0).then(|| {
                                let judged: Vec<f32> = (0..SET)
                                    .map(|row| -0.001 * (row * 37 % SET) as f32)
                                    .collect();
                                artefacts.confidence("confidence", &judged)
                            }),
                        },
                    )]
                    .into(),
                }
            })
            .collect();
        SnapshotOutcome {
            nimg: kimg * 1000,
            last,
            training: Some(training(artefacts, &label, kimg)),
            on_equal_terms: summary(&sets),
            summary: summary(&sets),
            sets,
            curve_set: None,
            uniform: BTreeMap::new(),
            uniform_sets: Vec::new(),
        }
    });
    CellOutcome {
        label,
        clustering: name.to_owned(),
        method: clustering.map_or("none", |c| c.method.as_str()).to_owned(),
        clusters,
        used,
        utilisation: clustering.map(|c| c.result.utilisation),
        condition: clustering.map(|c| c.artefact.clone()),
        snapshots: snapshots.into(),
    }
}

fn training(artefacts: &mut ArtefactCache, label: &str, kimg: u64) -> TrainingOutcome {
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

fn bound(clusterings: &[ClusteringOutcome]) -> BoundOutcome {
    let probe = |c: &ClusteringOutcome| Probe {
        clusters: c.clusters,
        used: vec![c.result.used],
        utilisation: c.result.utilisation,
        utilisation_std: None,
        passes: c.result.utilisation > 0.96,
    };
    let probes: Vec<Probe> = clusterings
        .iter()
        .filter(|c| c.name == "temi")
        .map(probe)
        .collect();
    let c_max = probes.iter().filter(|p| p.passes).map(|p| p.clusters).max();
    let decision = BoundDecision::Found {
        c_max,
        reason: "no grid point is left between 40 and 80".to_owned(),
    };
    BoundOutcome {
        clustering: "temi".to_owned(),
        alpha: 0.96,
        result: Some(BoundResult { probes, decision }),
        c_max,
        candidates: vec![5, 10, 20, 40],
        lower: Some(LowerBound {
            probes: vec![(200, 9), (400, 11)],
            mean: 10.0,
            std: Some(1.41),
        }),
    }
}

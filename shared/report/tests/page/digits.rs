//! A small sweep with everything a report shows, its artefacts in memory: digits drawn from a 5×7
//! font, a bound search, four granularities of TEMI, two of k-means, ground truth, no condition;
//! one cell that failed.

use super::{
    artefacts::{StoredArtefacts, digest, key},
    networks::network,
    results::{answer, costs, lineage},
};
use cedm_contract::{
    SweepId,
    kinds::{
        bound::{BoundDecision, BoundResult, Probe},
        cluster::{ClusterQuality, ClusterResult},
        feature_evaluation::FeatureEvaluationResult,
        import::ImageSet,
    },
};
use cedm_sweep::{SweepSpec, outcome::*};

const FILE: &str = include_str!("digits.toml");
/// Number of real images in the made-up set.
pub const IMAGES: u64 = 600;
/// Images of a sample set.
pub const SET: u64 = 500;

/// The sweep and its artefacts.
pub fn sweep() -> (SweepOutcome, StoredArtefacts) {
    let mut artefacts = StoredArtefacts::default();
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
        .map(|c| network(&mut artefacts, Some(c)))
        .collect();
    cells.push(network(&mut artefacts, None));
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
            evaluation: Some(FeatureEvaluationResult {
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
            cell: Some(MissingCell {
                clustering: "temi".to_owned(),
                clusters: Some(40),
                seed: None,
                nimg: Some(24_000),
                score: None,
            }),
        }],
        costs: costs(&lineage),
        lineage,
    };
    (outcome, artefacts)
}

/// An artefact made of a name.
pub fn artefact(name: &str) -> Artefact {
    Artefact {
        key: key(name),
        digest: digest(name),
    }
}

fn image_set(artefacts: &mut StoredArtefacts) -> ImageSet {
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
    artefacts: &mut StoredArtefacts,
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

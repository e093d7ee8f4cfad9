//! The results of the small sweep: its answer, its lineage and its cost.

use super::digits::{SET, artefact};
use cedm_contract::{Input, Kind, Software, Timings};
use cedm_sweep::outcome::*;
use std::collections::BTreeMap;

/// The answer, from the networks' scores.
pub fn answer(cells: &[CellOutcome]) -> Answer {
    let score = |label: &str| {
        cells
            .iter()
            .find(|c| c.label == label)
            .unwrap()
            .snapshots
            .last()
            .unwrap()
            .summary["pixels/fd"]
            .clone()
    };
    let best = score("temi C=20");
    let against = |label: &str| {
        let other = score(label).mean;
        Comparison {
            with: label.to_owned(),
            other,
            relative: (best.mean - other) / other,
            better: best.mean < other,
            ahead: None,
            sets: 3,
            images: SET,
        }
    };
    let granularity = |clustering: &str, clusters: u32, may_be_best: bool| {
        let label = format!("{clustering} C={clusters}");
        Granularity {
            mean: score(&label).mean,
            label,
            clustering: clustering.to_owned(),
            clusters,
            trainings: 1,
            behind: None,
            probability: None,
            may_be_best,
            edge: None,
        }
    };
    Answer {
        granularities: vec![
            granularity("temi", 20, true),
            granularity("kmeans", 20, true),
            granularity("temi", 10, false),
        ],
        certainty: Certainty {
            confidence: 0.95,
            trainings: 1,
            sets: 3,
            sampling_std: Some(0.012),
            unknown: vec!["every network was trained once".to_owned()],
            ..Certainty::default()
        },
        metric: "pixels/fd".to_owned(),
        best: "temi C=20".to_owned(),
        clustering: "temi".to_owned(),
        clusters: 20,
        uncertain: true,
        ties: vec!["kmeans C=20".to_owned()],
        runner_up: Some(RunnerUp {
            cell: "kmeans C=20".to_owned(),
            score: best.mean + 0.02,
            difference: 0.02,
            standard_error: None,
        }),
        agreement: vec![Agreement {
            metric: "pca/fd".to_owned(),
            best: "temi C=10".to_owned(),
            clusters: 10,
            same: false,
            within_bound: Some(true),
            tau: Some(0.714),
            networks: 7,
        }],
        uniform: vec![UniformEffect {
            cell: "kmeans C=20".to_owned(),
            metric: "pixels/fd".to_owned(),
            prior: 0.7,
            uniform: 0.95,
            increase: 0.25,
            sets: 1,
            images: SET,
        }],
        c_max: Some(40),
        within_bound: Some(true),
        comparisons: ["unconditional", "ground truth", "kmeans C=20"]
            .map(against)
            .into(),
        efficiency: vec![
            Efficiency {
                cell: "temi C=20".to_owned(),
                nimg: Some(6_000),
                ratio: Some(4.0),
                crossing_nimg: None,
                unconditional_nimg: 24_000,
                images: SET,
            },
            Efficiency {
                cell: "kmeans C=20".to_owned(),
                nimg: Some(12_000),
                ratio: Some(2.0),
                crossing_nimg: Some(7_300.0),
                unconditional_nimg: 24_000,
                images: SET,
            },
            Efficiency {
                cell: "ground truth".to_owned(),
                nimg: None,
                ratio: None,
                crossing_nimg: None,
                unconditional_nimg: 24_000,
                images: SET,
            },
        ],
        headline: format!(
            "temi C=20 has the lowest FD (pixels) of 3: {:.3} ± 0.012 over sample sets, 27 % below \
             unconditional; trained once each, so that any of the 3 may be the best; C_max = 40",
            best.mean
        ),
        score: best,
    }
}

/// Every job with what it read.
pub fn lineage(cells: &[CellOutcome], clusterings: &[ClusteringOutcome]) -> Vec<LineageNode> {
    let node = |id: String, kind: Kind, artefact: &Artefact, inputs: Vec<Input>, cached: bool| {
        LineageNode {
            id,
            kind,
            key: artefact.key.clone(),
            digest: artefact.digest.clone(),
            inputs,
            timings: Timings {
                queued_ms: 1_700_000_000_000,
                started_ms: 1_700_000_001_000,
                finished_ms: 1_700_000_021_000,
                compute_ms: 19_500,
            },
            software: Software {
                version: "0.1.0".to_owned(),
                revision: "abc1234".to_owned(),
                worker: "trainer-7".to_owned(),
                device: "cpu".to_owned(),
                deterministic: false,
            },
            attempts: if kind == Kind::Train { 2 } else { 1 },
            cached,
            metrics: BTreeMap::new(),
        }
    };
    let input = |role: &str, artefact: &Artefact| Input {
        role: role.to_owned(),
        key: artefact.key.clone(),
        digest: artefact.digest.clone(),
    };
    let images = artefact("import");
    let mut nodes = vec![node(
        "import digits".to_owned(),
        Kind::Import,
        &images,
        Vec::new(),
        true,
    )];
    nodes.extend(clusterings.iter().map(|c| {
        node(
            format!("cluster {} C={}", c.name, c.clusters),
            Kind::Cluster,
            &c.artefact,
            vec![input("images", &images)],
            c.clusters < 10,
        )
    }));
    for cell in cells {
        for snapshot in &cell.snapshots {
            let mut inputs = vec![input("images", &images)];
            inputs.extend(
                cell.condition
                    .iter()
                    .map(|condition| input("condition", condition)),
            );
            let training = snapshot.training.as_ref().unwrap();
            nodes.push(node(
                format!("train {} to {}", cell.label, snapshot.nimg),
                Kind::Train,
                &training.artefact,
                inputs,
                false,
            ));
        }
    }
    nodes
}

/// The cost of each kind of job.
pub fn costs(lineage: &[LineageNode]) -> Vec<KindCost> {
    let cost = |kind: &Kind| {
        let of: Vec<_> = lineage.iter().filter(|node| node.kind == *kind).collect();
        let cached = of.iter().filter(|node| node.cached).count() as u64;
        KindCost {
            kind: *kind,
            jobs: of.len() as u64,
            cached,
            compute_s: 19.5 * (of.len() as u64 - cached) as f64,
            mean_wait_s: (*kind != Kind::Import).then_some(1.0),
        }
    };
    [Kind::Import, Kind::Cluster, Kind::Train]
        .iter()
        .map(cost)
        .collect()
}

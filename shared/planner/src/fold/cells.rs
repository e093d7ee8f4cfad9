//! Networks with their snapshots, sample sets and scores.

use super::{View, artefact, summary::summarise};
use crate::{Cell, Node, Purpose, chain::cell_label};
use cedm_contract::{
    JobResult, Kind, Manifest,
    kinds::{score, train},
};
use cedm_sweep::{
    ClusteringSpec,
    outcome::{
        CellOutcome, SamplesOutcome, ScoresOutcome, SetOutcome, SnapshotOutcome, Summary,
        TrainingOutcome,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// Every network whose C is known: in the order of the file, then ascending C.
pub(super) fn cells(view: &View<'_>) -> Vec<CellOutcome> {
    let mut cells = Vec::new();
    for clustering in &view.sweep.spec.clusterings {
        let of = |node: &&Node| {
            node.kind == Kind::Train
                && node
                    .cell
                    .as_ref()
                    .is_some_and(|cell| cell.clustering == clustering.name)
        };
        let trained = view
            .plan
            .nodes
            .iter()
            .filter(of)
            .filter_map(|node| node.cell.as_ref());
        let granularities: BTreeSet<Option<u32>> = trained.map(|cell| cell.clusters).collect();
        for clusters in granularities {
            if clusters.is_some() || clustering.method.is_unconditional() {
                cells.push(cell(view, clustering, clusters));
            }
        }
    }
    cells
}

fn cell(view: &View<'_>, clustering: &ClusteringSpec, clusters: Option<u32>) -> CellOutcome {
    let at = |nimg, set| Cell {
        clustering: clustering.name.clone(),
        clusters,
        nimg,
        set,
        purpose: Purpose::Evaluation,
    };
    let condition = clusters.and_then(|_| {
        let trains = view.plan.nodes.iter().filter(|node| {
            node.kind == Kind::Train && node.cell.as_ref().is_some_and(|c| c.clusters == clusters)
        });
        let mut own = trains.filter(|node| {
            node.cell
                .as_ref()
                .is_some_and(|cell| cell.clustering == clustering.name)
        });
        let input = own.find_map(super::condition)?;
        view.observed.manifest(&input.key)
    });
    let clustered = condition.and_then(|manifest| {
        if let JobResult::Cluster(result) = &manifest.result {
            Some(result)
        } else {
            None
        }
    });
    let budget = view.sweep.spec.training.budget_nimg();
    CellOutcome {
        label: cell_label(clustering, clusters),
        clustering: clustering.name.clone(),
        method: clustering.method.name().to_owned(),
        clusters,
        used: clustered.map(|result| result.used),
        utilisation: clustered.map(|result| result.utilisation),
        condition: condition.map(artefact),
        snapshots: view
            .sweep
            .spec
            .training
            .snapshots_nimg
            .iter()
            .map(|nimg| snapshot(view, at(Some(*nimg), None), *nimg == budget))
            .collect(),
    }
}

fn snapshot(view: &View<'_>, at: Cell, last: bool) -> SnapshotOutcome {
    let node = view
        .plan
        .nodes
        .iter()
        .find(|node| node.kind == Kind::Train && node.cell.as_ref() == Some(&at));
    let of = |purpose| {
        sets(
            view,
            &Cell {
                purpose,
                ..at.clone()
            },
        )
    };
    let (sets, curve_set, uniform_sets) = (
        of(Purpose::Evaluation),
        of(Purpose::Curve).pop(),
        of(Purpose::Uniform),
    );
    let summary = summarise(&sets);
    SnapshotOutcome {
        nimg: at.nimg.unwrap_or(0),
        last,
        training: node.and_then(|node| view.manifest(node)).and_then(training),
        on_equal_terms: on_equal_terms(view, &sets, curve_set.as_ref()),
        uniform: summarise(&uniform_sets),
        summary,
        sets,
        curve_set,
        uniform_sets,
    }
}

/// Scores over as many images as each snapshot before the last is evaluated on, where there are
/// any.
fn on_equal_terms(
    view: &View<'_>,
    sets: &[SetOutcome],
    curve_set: Option<&SetOutcome>,
) -> BTreeMap<String, Summary> {
    let fewer = view.sweep.spec.sampling.snapshot_images;
    match curve_set {
        Some(set) => summarise(std::slice::from_ref(set)),
        None if fewer > 0 && sets.iter().all(|set| set.images == fewer) => summarise(sets),
        None => BTreeMap::new(),
    }
}

fn training(manifest: &Manifest) -> Option<TrainingOutcome> {
    let JobResult::Train(result) = &manifest.result else {
        return None;
    };
    let object = |name| manifest.output(name).map(|output| output.object.clone());
    Some(TrainingOutcome {
        artefact: artefact(manifest),
        result: result.clone(),
        weights: object(train::EMA),
        curve: object(train::CURVE),
        seconds: manifest
            .timings
            .finished_ms
            .saturating_sub(manifest.timings.started_ms) as f64
            / 1000.0,
    })
}

fn sets(view: &View<'_>, at: &Cell) -> Vec<SetOutcome> {
    let in_set = |node: &&Node, set: u32| {
        node.cell.as_ref()
            == Some(&Cell {
                set: Some(set),
                ..at.clone()
            })
    };
    let (sampling, last) = (
        &view.sweep.spec.sampling,
        at.nimg == Some(view.sweep.spec.training.budget_nimg()),
    );
    let images = if last && at.purpose != Purpose::Curve {
        sampling.images
    } else {
        sampling.snapshot_images
    };
    let mut sets = Vec::new();
    for index in 0.. {
        let nodes: Vec<&Node> = view
            .plan
            .nodes
            .iter()
            .filter(|node| in_set(node, index))
            .collect();
        let Some(node) = nodes.iter().find(|node| node.kind == Kind::SampleSet) else {
            break;
        };
        let scores = nodes
            .iter()
            .filter(|node| node.kind == Kind::Score)
            .filter_map(|node| {
                let manifest = view.manifest(node)?;
                let JobResult::Score(result) = &manifest.result else {
                    return None;
                };
                Some((
                    node.space.clone()?,
                    ScoresOutcome {
                        artefact: artefact(manifest),
                        result: result.clone(),
                        confidence: manifest
                            .output(score::CONFIDENCE)
                            .map(|output| output.object.clone()),
                    },
                ))
            });
        sets.push(SetOutcome {
            index,
            images,
            first_seed: u64::from(index) * images,
            samples: view.manifest(node).and_then(samples),
            scores: scores.collect(),
        });
    }
    sets
}

fn samples(manifest: &Manifest) -> Option<SamplesOutcome> {
    let JobResult::SampleSet(result) = &manifest.result else {
        return None;
    };
    Some(SamplesOutcome {
        artefact: artefact(manifest),
        result: result.clone(),
    })
}

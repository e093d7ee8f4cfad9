//! Networks with their snapshots, sample sets and scores.

use super::{View, artefact, summary::summarise};
use crate::{
    Cell, Purpose,
    chain::{cell_label, network_label},
};
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
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Every network whose C is known: in the order of the file, then ascending C.
pub(super) fn cells(view: &View<'_>) -> Vec<CellOutcome> {
    let conditions = conditions(view);
    let mut cells = Vec::new();
    for clustering in &view.sweep.spec.clusterings {
        let trained = view.of_clustering(Kind::Train, &clustering.name).iter();
        let trained = trained.filter_map(|node| node.cell);
        let networks = trained.map(|cell| (cell.clusters, cell.seed));
        for (clusters, seed) in networks.collect::<BTreeSet<_>>() {
            if clusters.is_some() || clustering.method.is_unconditional() {
                let condition =
                    clusters.and_then(|c| conditions.get(&(clustering.name.as_str(), c)));
                cells.push(cell(view, clustering, (clusters, seed), condition.copied()));
            }
        }
    }
    cells
}

/// The clusterings that networks are conditional on, by name and C: of each the first that is done.
fn conditions<'a>(view: &View<'a>) -> HashMap<(&'a str, u32), &'a Manifest> {
    let mut conditions = HashMap::new();
    let trained = view.entries.iter().filter(|node| node.kind == Kind::Train);
    for node in trained {
        if let Some(cell) = node.cell
            && let Some(clusters) = cell.clusters
            && let Some(condition) = node.condition
        {
            let at = (cell.clustering.as_str(), clusters);
            conditions.entry(at).or_insert(condition);
        }
    }
    let observed = view.observed;
    let found = conditions.into_iter();
    found
        .filter_map(|(at, key)| Some((at, observed.manifest(key)?)))
        .collect()
}

fn cell(
    view: &View<'_>,
    clustering: &ClusteringSpec,
    (clusters, seed): (Option<u32>, Option<u64>),
    condition: Option<&Manifest>,
) -> CellOutcome {
    let at = |nimg, set| Cell {
        clustering: clustering.name.clone(),
        clusters,
        seed,
        nimg,
        set,
        purpose: Purpose::Evaluation,
    };
    let clustered = condition.and_then(|manifest| {
        if let JobResult::Cluster(result) = &manifest.result {
            Some(result)
        } else {
            None
        }
    });
    let budget = view.sweep.spec.training.budget_nimg();
    CellOutcome {
        label: network_label(&cell_label(clustering, clusters), seed),
        clustering: clustering.name.clone(),
        method: clustering.method.name().to_owned(),
        clusters,
        seed,
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
        .of_cell(&at)
        .iter()
        .find(|node| node.kind == Kind::Train);
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
        let nodes = view.of_cell(&Cell {
            set: Some(index),
            ..at.clone()
        });
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
                    node.space?.to_owned(),
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

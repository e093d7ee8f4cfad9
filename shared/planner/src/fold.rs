//! Folds the manifests of a sweep into its outcome: one plain record.

mod answer;
mod cells;
mod clusterings;
mod missing;
mod summary;

use crate::{Cell, Graph, ObservedState, graph::Entry};
use cedm_contract::{JobResult, Kind, Manifest};
use cedm_sweep::{
    Sweep,
    outcome::{Artefact, FeaturesOutcome, ImagesOutcome, KindCost, LineageNode, SweepOutcome},
};
use std::collections::{HashMap, HashSet};

/// The outcome so far; complete once the plan is settled.
pub fn fold(sweep: &Sweep, observed: &dyn ObservedState) -> SweepOutcome {
    let graph = Graph::new(sweep, observed);
    let entries: Vec<Entry<'_>> = graph.entries().collect();
    let view = View::new(sweep, observed, &graph, &entries);
    let bounds = clusterings::bounds(&view);
    let cells = cells::cells(&view);
    let answer = answer::answer(sweep, &cells, &bounds);
    SweepOutcome {
        sweep: sweep.id.clone(),
        submitted_ms: sweep.submitted_ms,
        finished_ms: view
            .done
            .iter()
            .map(|(_, manifest)| manifest.timings.finished_ms)
            .filter(|at| *at >= sweep.submitted_ms)
            .max(),
        toml: sweep.toml.clone(),
        spec: sweep.spec.clone(),
        state: graph.state(),
        jobs: graph.counts(),
        images: images(&view),
        features: features(&view),
        clusterings: clusterings::clusterings(&view),
        missing: missing::missing(&view, &cells, &bounds),
        lineage: lineage(&view),
        costs: costs(&view),
        bounds,
        cells,
        answer,
    }
}

/// A graph with the manifests behind it, and its nodes by where they belong: whoever looks for the
/// nodes of a cell does not go through all of them.
struct View<'a> {
    sweep: &'a Sweep,
    observed: &'a dyn ObservedState,
    graph: &'a Graph,
    entries: &'a [Entry<'a>],
    /// Done nodes with their manifests, each job once, in the order of the plan.
    done: Vec<(&'a Entry<'a>, &'a Manifest)>,
    by_cell: HashMap<&'a Cell, Vec<&'a Entry<'a>>>,
    /// Nodes of cells by their kind and clustering.
    by_clustering: HashMap<Kind, HashMap<&'a str, Vec<&'a Entry<'a>>>>,
}

impl<'a> View<'a> {
    fn new(
        sweep: &'a Sweep,
        observed: &'a dyn ObservedState,
        graph: &'a Graph,
        entries: &'a [Entry<'a>],
    ) -> Self {
        let mut view = Self {
            sweep,
            observed,
            graph,
            entries,
            done: Vec::new(),
            by_cell: HashMap::new(),
            by_clustering: HashMap::new(),
        };
        let mut seen = HashSet::new();
        for node in entries {
            if let Some(manifest) = view.manifest(node)
                && seen.insert(&manifest.key)
            {
                view.done.push((node, manifest));
            }
            let Some(cell) = node.cell else { continue };
            view.by_cell.entry(cell).or_default().push(node);
            let of_kind = view.by_clustering.entry(node.kind).or_default();
            of_kind.entry(&cell.clustering).or_default().push(node);
        }
        view
    }

    /// The manifest of a node, where it is done.
    fn manifest(&self, node: &Entry<'_>) -> Option<&'a Manifest> {
        self.observed.manifest(node.done?)
    }
    /// Nodes at exactly these coordinates, in the order of the plan.
    fn of_cell(&self, cell: &Cell) -> &[&'a Entry<'a>] {
        self.by_cell.get(cell).map_or(&[], Vec::as_slice)
    }
    /// Nodes of one kind that belong to a clustering, in the order of the plan.
    fn of_clustering(&self, kind: Kind, clustering: &str) -> &[&'a Entry<'a>] {
        let of_kind = self.by_clustering.get(&kind);
        let found = of_kind.and_then(|of_kind| of_kind.get(clustering));
        found.map_or(&[], Vec::as_slice)
    }
    fn cached(&self, manifest: &Manifest) -> bool {
        manifest.timings.finished_ms < self.sweep.submitted_ms
    }
}

fn artefact(manifest: &Manifest) -> Artefact {
    Artefact {
        key: manifest.key.clone(),
        digest: manifest.digest.clone(),
    }
}

fn images(view: &View<'_>) -> Option<ImagesOutcome> {
    let manifest = view.observed.manifest(&view.sweep.images)?;
    let JobResult::Import(set) = &manifest.result else {
        return None;
    };
    Some(ImagesOutcome {
        name: view.sweep.spec.image_set.clone(),
        artefact: artefact(manifest),
        set: set.clone(),
    })
}

fn features(view: &View<'_>) -> Option<FeaturesOutcome> {
    let results = || view.done.iter().map(|(_, manifest)| &manifest.result);
    let dim = results().find_map(|result| match result {
        JobResult::Features(set) => Some(set.dim),
        _ => None,
    })?;
    Some(FeaturesOutcome {
        extractor: view.sweep.spec.extractor.name.clone(),
        dim,
        adapted: results().find_map(|result| match result {
            JobResult::Adapt(adapted) => Some(adapted.clone()),
            _ => None,
        }),
        evaluation: results().find_map(|result| match result {
            JobResult::FeatureEvaluation(evaluation) => Some(evaluation.clone()),
            _ => None,
        }),
    })
}

fn lineage(view: &View<'_>) -> Vec<LineageNode> {
    let node = |(node, manifest): &(&Entry<'_>, &Manifest)| LineageNode {
        id: node.id.to_owned(),
        kind: node.kind,
        key: manifest.key.clone(),
        digest: manifest.digest.clone(),
        inputs: manifest.inputs.clone(),
        timings: manifest.timings.clone(),
        software: manifest.software.clone(),
        attempts: manifest.attempt.delivery,
        cached: view.cached(manifest),
        metrics: manifest.metrics.clone(),
    };
    view.done.iter().map(node).collect()
}

fn costs(view: &View<'_>) -> Vec<KindCost> {
    let mut costs = Vec::new();
    for kind in Kind::ALL {
        let of_kind: Vec<&Manifest> = view
            .done
            .iter()
            .filter(|(node, _)| node.kind == *kind)
            .map(|(_, manifest)| *manifest)
            .collect();
        if of_kind.is_empty() {
            continue;
        }
        let fresh: Vec<&Manifest> = of_kind
            .iter()
            .copied()
            .filter(|manifest| !view.cached(manifest))
            .collect();
        let wait = |manifest: &&Manifest| {
            manifest
                .timings
                .started_ms
                .saturating_sub(manifest.timings.queued_ms) as f64
                / 1000.0
        };
        costs.push(KindCost {
            kind: *kind,
            jobs: of_kind.len() as u64,
            cached: (of_kind.len() - fresh.len()) as u64,
            compute_s: fresh
                .iter()
                .map(|manifest| manifest.timings.compute_ms as f64 / 1000.0)
                .sum::<f64>()
                + 0.0, // the sum of no times is −0.0
            mean_wait_s: (!fresh.is_empty())
                .then(|| fresh.iter().map(wait).sum::<f64>() / fresh.len() as f64),
        });
    }
    costs
}

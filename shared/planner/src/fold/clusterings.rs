//! Clusterings and bound searches.

use super::{View, artefact, summary::mean_and_std};
use crate::{candidates::candidates, chain::lower_bound_clusters};
use cedm_contract::{
    JobKey, JobResult, JobSpec, Kind, Manifest,
    kinds::{
        bound::BoundResult,
        cluster::{ASSIGNMENTS, ClusterMethod, ClusterParams},
    },
};
use cedm_sweep::{
    ClusteringSpec, Clusters, Method,
    outcome::{BoundOutcome, ClusteringOutcome, LowerBound},
};
use std::collections::{HashMap, HashSet};

/// Every clustering that is done, by name and C.
pub(super) fn clusterings(view: &View<'_>) -> Vec<ClusteringOutcome> {
    let conditions: HashSet<&JobKey> = (view.entries.iter())
        .filter_map(|node| node.condition)
        .collect();
    let specs: HashMap<&str, (usize, &ClusteringSpec)> = (view.sweep.spec.clusterings.iter())
        .enumerate()
        .map(|(at, spec)| (spec.name.as_str(), (at, spec)))
        .collect();
    let mut found = Vec::new();
    for node in view
        .entries
        .iter()
        .filter(|node| node.kind == Kind::Cluster)
    {
        let (Some(manifest), Some(cell)) = (view.manifest(node), node.cell) else {
            continue;
        };
        let (JobSpec::Cluster(params), JobResult::Cluster(result)) =
            (&manifest.spec, &manifest.result)
        else {
            continue;
        };
        let Some((_, spec)) = specs.get(cell.clustering.as_str()) else {
            continue;
        };
        found.push(ClusteringOutcome {
            name: cell.clustering.clone(),
            method: spec.method.name().to_owned(),
            clusters: params.clusters,
            seed: params.seed,
            lower_bound: is_lower_bound(spec, params),
            artefact: artefact(manifest),
            result: result.clone(),
            assignments: manifest
                .output(ASSIGNMENTS)
                .map(|output| output.object.clone()),
            trained: conditions.contains(&manifest.key),
        });
    }
    let order = |name: &str| specs.get(name).map(|(at, _)| *at);
    found.sort_by_key(|c: &ClusteringOutcome| (order(&c.name), c.lower_bound, c.clusters, c.seed));
    found
}

fn is_lower_bound(spec: &ClusteringSpec, params: &ClusterParams) -> bool {
    match (&spec.method, &params.method) {
        (Method::Temi(asked), ClusterMethod::Temi(made)) => made.beta == 1.0 && asked.beta != 1.0,
        _ => false,
    }
}

/// Every bound search of the sweep.
pub(super) fn bounds(view: &View<'_>) -> Vec<BoundOutcome> {
    let searched =
        |spec: &&ClusteringSpec| spec.clusters.needs_bound() && spec.method.has_a_bound_search();
    view.sweep
        .spec
        .clusterings
        .iter()
        .filter(searched)
        .map(|spec| bound(view, spec))
        .collect()
}

fn bound(view: &View<'_>, clustering: &ClusteringSpec) -> BoundOutcome {
    let spec = &view.sweep.spec.bound;
    let steps = view.of_clustering(Kind::Bound, &clustering.name).iter();
    let newest: Option<&Manifest> = steps.filter_map(|node| view.manifest(node)).next_back();
    let result: Option<&BoundResult> = newest.and_then(|manifest| {
        if let JobResult::Bound(result) = &manifest.result {
            Some(result)
        } else {
            None
        }
    });
    let c_max = result.and_then(BoundResult::c_max);
    let trained = result.map(|result| match clustering.clusters {
        Clusters::CMax => result.c_max().into_iter().collect(),
        _ => candidates(result, spec),
    });
    BoundOutcome {
        clustering: clustering.name.clone(),
        alpha: spec.params.alpha,
        result: result.cloned(),
        c_max,
        candidates: trained.unwrap_or_default(),
        lower: spec
            .lower_bound
            .then(|| lower(view, clustering, c_max))
            .flatten(),
    }
}

fn lower(view: &View<'_>, clustering: &ClusteringSpec, c_max: Option<u32>) -> Option<LowerBound> {
    let images = super::images(view)?.set.count;
    let asked = lower_bound_clusters(&view.sweep.spec.bound.lower_bound_clusters, c_max, images);
    let mut probes = Vec::new();
    for node in view.of_clustering(Kind::Cluster, &clustering.name) {
        let Some(manifest) = view.manifest(node) else {
            continue;
        };
        let (JobSpec::Cluster(params), JobResult::Cluster(result)) =
            (&manifest.spec, &manifest.result)
        else {
            continue;
        };
        if asked.contains(&params.clusters)
            && matches!(&params.method, ClusterMethod::Temi(temi) if temi.beta == 1.0)
        {
            probes.push((params.clusters, result.used));
        }
    }
    probes.sort_unstable();
    probes.dedup();
    if probes.is_empty() {
        return None;
    }
    let (mean, std) = mean_and_std(
        &probes
            .iter()
            .map(|(_, used)| f64::from(*used))
            .collect::<Vec<_>>(),
    );
    Some(LowerBound { probes, mean, std })
}

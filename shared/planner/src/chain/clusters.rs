//! Clusterings, the bound search that decides how many clusters, and the cells that follow from
//! both.

use super::{PlanContext, cell_label, features};
use crate::{
    Cell, Purpose, Work,
    builder::{Dependency, NodeDraft, PlanBuilder},
    candidates::spread,
    obstacles::label_obstacle,
};
use cedm_contract::{
    Kind,
    kinds::{
        bound::{BoundDecision, BoundInputs, BoundParams, BoundResult},
        cluster::{ClusterInputs, ClusterMethod, ClusterParams, TemiParams},
    },
};
use cedm_sweep::{ClusteringSpec, Clusters, Method};
use std::collections::{BTreeMap, BTreeSet};

/// Probes beyond this many mean that a search does not end.
const MAX_STEPS: usize = 200;

/// One network to be trained: its coordinates, its label for people, and its condition.
pub(super) struct NetworkCell<'k> {
    pub(super) cell: Cell,
    pub(super) label: String,
    /// `None` for the unconditional network.
    pub(super) condition: Option<Dependency<'k>>,
}

/// The networks that a clustering asks for.
pub(super) fn cells<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
) -> Vec<NetworkCell<'k>> {
    let at = |clusters| Cell {
        clustering: clustering.name.clone(),
        clusters,
        nimg: None,
        set: None,
        purpose: Purpose::Evaluation,
    };
    let cell = |clusters, condition| NetworkCell {
        label: cell_label(clustering, clusters),
        cell: at(clusters),
        condition,
    };
    match (&clustering.method, &clustering.clusters) {
        (Method::None, _) => vec![cell(None, None)],
        (Method::GroundTruth { coarse }, _) => {
            let classes = if *coarse {
                context.images.set.coarse_classes
            } else {
                context.images.set.classes
            };
            vec![cell(
                Some(classes),
                Some(cluster(b, context, clustering, classes, clustering.seed)),
            )]
        }
        (_, Clusters::List(list)) => list
            .iter()
            .map(|c| {
                cell(
                    Some(*c),
                    Some(cluster(b, context, clustering, *c, clustering.seed)),
                )
            })
            .collect(),
        (_, Clusters::Bound | Clusters::CMax) => bounded(b, context, clustering),
        (_, Clusters::Given) => Vec::new(),
    }
}

/// Cells whose C the bound decides; placeholders while it does not.
fn bounded<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
) -> Vec<NetworkCell<'k>> {
    let bound = &b.sweep.spec.bound;
    let Some(source) = b.sweep.spec.bound_source(clustering) else {
        return Vec::new();
    };
    let count = if clustering.clusters == Clusters::CMax {
        1
    } else {
        bound.candidates
    };
    let lower = bound.lower_bound && source.name == clustering.name;
    if lower {
        // what is asked for by number need not wait for C_max
        bound.lower_bound_clusters.iter().for_each(|c| {
            lower_bound_cluster(b, context, clustering, *c);
        });
    }
    let search = search(b, context, source);
    let Some(found) = search.found() else {
        let cell = Cell {
            clustering: clustering.name.clone(),
            clusters: None,
            nimg: None,
            set: None,
            purpose: Purpose::Evaluation,
        };
        let label = |i: u32| {
            if count == 1 {
                format!("{} C=?", clustering.name)
            } else {
                format!("{} C=?{i}", clustering.name)
            }
        };
        return (1..=count)
            .map(|i| NetworkCell {
                cell: cell.clone(),
                label: label(i),
                condition: Some(search.last),
            })
            .collect();
    };
    if lower {
        lower_bound(b, context, clustering, found);
    }
    let mut cells = Vec::new();
    for c in spread(&passing(found), count) {
        let condition = cluster(b, context, clustering, c, clustering.seed);
        let cell = Cell {
            clustering: clustering.name.clone(),
            clusters: Some(c),
            nimg: None,
            set: None,
            purpose: Purpose::Evaluation,
        };
        cells.push(NetworkCell {
            label: cell_label(clustering, Some(c)),
            cell,
            condition: Some(condition),
        });
    }
    cells
}

/// C that pass and are at most C_max, ascending.
fn passing(found: &BoundResult) -> Vec<u32> {
    let BoundDecision::Found {
        c_max: Some(c_max), ..
    } = found.decision
    else {
        return Vec::new();
    };
    found
        .probes
        .iter()
        .filter(|probe| probe.passes && probe.clusters <= c_max)
        .map(|probe| probe.clusters)
        .collect()
}

/// A bound search as far as it has come.
struct BoundSearch<'k> {
    /// The newest step that is done.
    newest: Option<&'k BoundResult>,
    /// The node that decides next, or decided.
    last: Dependency<'k>,
}

impl<'k> BoundSearch<'k> {
    /// The result, once there is one.
    fn found(&self) -> Option<&'k BoundResult> {
        self.newest
            .filter(|result| matches!(result.decision, BoundDecision::Found { .. }))
    }
}

/// The search on this clustering: steps and probes in turn, until a step says that C_max is found.
fn search<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
) -> BoundSearch<'k> {
    let images = u32::try_from(context.images.set.count).unwrap_or(u32::MAX);
    let given = &b.sweep.spec.bound.params;
    let params = BoundParams {
        cap: given.cap.min(images),
        ..given.clone()
    };
    let (seeds, cell) = (
        clustering.seed..clustering.seed + u64::from(params.seeds),
        Cell {
            clustering: clustering.name.clone(),
            clusters: None,
            nimg: None,
            set: None,
            purpose: Purpose::Evaluation,
        },
    );
    let mut probed: BTreeSet<u32> = BTreeSet::new();
    if params.start <= params.cap {
        // The first probes are known before the first step: they need not wait for it.
        for seed in seeds.clone() {
            cluster(b, context, clustering, params.start, seed);
        }
    }
    let mut newest = None;
    for step in 1..=MAX_STEPS {
        let draft = NodeDraft::new(
            format!("bound {} step {step}", clustering.name),
            Work::one(),
        );
        let mut probes = BTreeMap::new();
        for c in &probed {
            for seed in seeds.clone() {
                probes.insert((*c, seed), cluster(b, context, clustering, *c, seed));
            }
        }
        let inputs = BoundInputs {
            images: context.images.dependency,
            probes,
        };
        let last = b.add(draft.cell(&cell), inputs, || Ok(params.clone()));
        let Some((_, result)) = last
            .done()
            .and_then(|manifest| manifest.as_kind::<BoundParams>().ok())
        else {
            return BoundSearch { newest, last };
        };
        newest = Some(result);
        match &result.decision {
            BoundDecision::Found { .. } => return BoundSearch { newest, last },
            BoundDecision::Probe { clusters } => {
                let before = probed.len();
                probed.extend(clusters);
                if probed.len() == before {
                    break;
                }
            }
        }
    }
    let draft = NodeDraft::new(
        format!("bound {} without end", clustering.name),
        Work::one(),
    );
    let reason = "the bound search asks for what it has: this is a fault of the bounds service";
    let last = b.add_dead(draft.cell(&cell), Kind::Bound, reason.to_owned());
    BoundSearch { newest, last }
}

/// TEMI with beta = 1 at C far above what is needed (spec §6.2).
fn lower_bound<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
    found: &BoundResult,
) {
    let BoundDecision::Found { c_max, .. } = found.decision else {
        return;
    };
    for c in lower_bound_clusters(
        &b.sweep.spec.bound.lower_bound_clusters,
        c_max,
        context.images.set.count,
    ) {
        lower_bound_cluster(b, context, clustering, c);
    }
}

/// C of the lower-bound probes: as asked for, else C_max and its doublings within the image set
/// (none while C_max is unknown).
pub(crate) fn lower_bound_clusters(asked: &[u32], c_max: Option<u32>, images: u64) -> Vec<u32> {
    if !asked.is_empty() {
        return asked.to_vec();
    }
    [1, 2, 4]
        .iter()
        .filter_map(|times| c_max?.checked_mul(*times))
        .filter(|c| u64::from(*c) <= images)
        .collect()
}

fn lower_bound_cluster<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
    c: u32,
) -> Dependency<'k> {
    let id = format!("{} beta=1", cluster_id(clustering, c, clustering.seed));
    let method = match &clustering.method {
        Method::Temi(temi) => Method::Temi(TemiParams {
            beta: 1.0,
            ..temi.clone()
        }),
        other => other.clone(),
    };
    cluster_job(b, context, &method, (id, clustering, c, clustering.seed))
}

/// "cluster temi C=20", with the seed where it is not the clustering's own.
fn cluster_id(clustering: &ClusteringSpec, c: u32, seed: u64) -> String {
    if seed == clustering.seed {
        format!("cluster {} C={c}", clustering.name)
    } else {
        format!("cluster {} C={c} seed={seed}", clustering.name)
    }
}

/// One clustering.
fn cluster<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
    c: u32,
    seed: u64,
) -> Dependency<'k> {
    cluster_job(
        b,
        context,
        &clustering.method,
        (cluster_id(clustering, c, seed), clustering, c, seed),
    )
}

fn cluster_job<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    method: &Method,
    at: (String, &ClusteringSpec, u32, u64),
) -> Dependency<'k> {
    let (id, clustering, c, seed) = at;
    if let Some(dependency) = b.existing(&id) {
        return dependency;
    }
    let spec = &b.sweep.spec;
    let images = context.images;
    let cell = Cell {
        clustering: clustering.name.clone(),
        clusters: Some(c),
        nimg: None,
        set: None,
        purpose: Purpose::Evaluation,
    };
    let (work, features, neighbours) = match method {
        Method::Temi(temi) => {
            let features = features::features(b, images, &spec.extractor);
            let neighbours = features::neighbours(b, images, &spec.extractor, temi.neighbours);
            (Work::epochs(temi.epochs), Some(features), Some(neighbours))
        }
        Method::Kmeans(_) => (
            Work::epochs(1),
            Some(features::features(b, images, &spec.extractor)),
            None,
        ),
        Method::GroundTruth { .. } | Method::Imported { .. } | Method::None => {
            (Work::epochs(0), None, None)
        }
    };
    let inputs = ClusterInputs {
        features,
        neighbours,
        images: images.dependency,
    };
    b.add(NodeDraft::new(id, work).cell(&cell), inputs, || {
        let method = match method {
            Method::Temi(temi) => ClusterMethod::Temi(temi.clone()),
            Method::Kmeans(kmeans) => ClusterMethod::Kmeans(kmeans.clone()),
            Method::GroundTruth { coarse } => {
                if let Some(reason) = label_obstacle(spec, images.set, *coarse) {
                    return Err(reason);
                }
                ClusterMethod::GroundTruth { coarse: *coarse }
            }
            Method::Imported { ids } => match &ids.object {
                Some(object) => ClusterMethod::Imported {
                    ids: object.clone(),
                },
                None => {
                    return Err(format!(
                        "the ids `{}` are not in the store: submit the sweep again",
                        ids.path
                    ));
                }
            },
            Method::None => return Err("no clustering has no clusters".to_owned()),
        };
        Ok(ClusterParams {
            method,
            clusters: c,
            seed,
        })
    })
}

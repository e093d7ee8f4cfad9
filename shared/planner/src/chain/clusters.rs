//! Clusterings, and the cells (networks to be trained) that follow from them.

use super::{PlanContext, bound, cell_label, features, network_label};
use crate::{
    Cell, Work,
    builder::{Dependency, NodeDraft, PlanBuilder},
    candidates::candidates,
    obstacles::label_obstacle,
};
use cedm_contract::kinds::cluster::{ClusterInputs, ClusterParams};
use cedm_sweep::{ClusteringSpec, Clusters, Method, Reads, TrainingSpec};

/// One network to be trained: its coordinates, its label for people, and its condition.
pub(super) struct NetworkCell {
    pub(super) cell: Cell,
    pub(super) label: String,
    /// `None` for the unconditional network.
    pub(super) condition: Option<Dependency>,
    /// Seed of its training.
    pub(super) seed: u64,
}

impl NetworkCell {
    /// The same condition, trained with this seed; named after it where there are several.
    pub(super) fn trained_with(&self, seed: u64, training: &TrainingSpec) -> Self {
        let named = training.has_several_seeds().then_some(seed);
        Self {
            cell: Cell {
                seed: named,
                ..self.cell.clone()
            },
            label: network_label(&self.label, named),
            condition: self.condition,
            seed,
        }
    }
}

/// The networks that a clustering asks for.
pub(super) fn cells<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
) -> Vec<NetworkCell> {
    let seed = b.sweep.spec.training.seed;
    let cell = |clusters, condition| NetworkCell {
        label: cell_label(clustering, clusters),
        cell: Cell::new(&clustering.name, clusters),
        condition,
        seed,
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

/// Cells whose C the bound search decides; placeholders as long as it runs.
fn bounded<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
) -> Vec<NetworkCell> {
    let (bound, seed) = (&b.sweep.spec.bound, b.sweep.spec.training.seed);
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
        // C given by number need not wait for C_max.
        bound.lower_bound_clusters.iter().for_each(|c| {
            bound::lower_bound_cluster(b, context, clustering, *c);
        });
    }
    let search = bound::search(b, context, source);
    let Some(found) = search.found() else {
        let cell = Cell::new(&clustering.name, None);
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
                seed,
            })
            .collect();
    };
    if lower {
        bound::lower_bound(b, context, clustering, found);
    }
    let mut cells = Vec::new();
    let chosen = if clustering.clusters == Clusters::CMax {
        found.c_max().into_iter().collect()
    } else {
        candidates(found, bound)
    };
    for c in chosen {
        let condition = cluster(b, context, clustering, c, clustering.seed);
        let cell = Cell::new(&clustering.name, Some(c));
        cells.push(NetworkCell {
            label: cell_label(clustering, Some(c)),
            cell,
            condition: Some(condition),
            seed,
        });
    }
    cells
}

/// "cluster temi C=20", with the seed where it is not the clustering's own.
pub(super) fn cluster_id(clustering: &ClusteringSpec, c: u32, seed: u64) -> String {
    if seed == clustering.seed {
        format!("cluster {} C={c}", clustering.name)
    } else {
        format!("cluster {} C={c} seed={seed}", clustering.name)
    }
}

/// Adds the job of one clustering at one C with one seed.
pub(super) fn cluster<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
    c: u32,
    seed: u64,
) -> Dependency {
    cluster_job(
        b,
        context,
        &clustering.method,
        (cluster_id(clustering, c, seed), clustering, c, seed),
    )
}

pub(super) fn cluster_job<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    method: &Method,
    at: (String, &ClusteringSpec, u32, u64),
) -> Dependency {
    let (id, clustering, c, seed) = at;
    if let Some(dependency) = b.existing(&id) {
        return dependency;
    }
    let spec = &b.sweep.spec;
    let images = context.images;
    let cell = Cell::new(&clustering.name, Some(c));
    let (features, neighbours) = match method.reads() {
        Reads::Images => (None, None),
        Reads::Features => (Some(features::features(b, images, &spec.extractor)), None),
        Reads::Neighbours(k) => (
            Some(features::features(b, images, &spec.extractor)),
            Some(features::neighbours(b, images, &spec.extractor, k)),
        ),
    };
    let work = Work::epochs(method.epochs());
    let inputs = ClusterInputs {
        features,
        neighbours,
        images: images.dependency,
    };
    b.add(NodeDraft::new(id, work).cell(&cell), inputs, || {
        if let Some(coarse) = method.needs_labels()
            && let Some(reason) = label_obstacle(spec, images.set, coarse)
        {
            return Err(reason);
        }
        Ok(ClusterParams {
            method: method.as_job()?,
            clusters: c,
            seed,
        })
    })
}

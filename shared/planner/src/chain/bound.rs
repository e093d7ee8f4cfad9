//! The bound search, which decides how many clusters, and the probes of the lower bound.

use super::{
    PlanContext,
    clusters::{cluster, cluster_id, cluster_job},
};
use crate::{
    Cell, Work,
    builder::{Dependency, NodeDraft, PlanBuilder},
};
use cedm_contract::{
    Kind,
    kinds::{
        bound::{BoundDecision, BoundInputs, BoundParams, BoundResult},
        cluster::TemiParams,
    },
};
use cedm_sweep::{ClusteringSpec, Method};
use std::collections::{BTreeMap, BTreeSet};

/// A search with more steps than this is taken not to end.
const MAX_STEPS: usize = 200;

/// The state of a bound search.
pub(super) struct BoundSearch<'k> {
    /// Result of the newest step that is done.
    newest: Option<&'k BoundResult>,
    /// The step that decides next, or has decided.
    pub(super) last: Dependency,
}

impl<'k> BoundSearch<'k> {
    /// The final result, once the search has ended.
    pub(super) fn found(&self) -> Option<&'k BoundResult> {
        self.newest
            .filter(|result| matches!(result.decision, BoundDecision::Found { .. }))
    }
}

/// The search on this clustering: steps and probes in turn, until a step says that C_max is found.
pub(super) fn search<'k>(
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
    let seeds = clustering.seed..clustering.seed + u64::from(params.seeds);
    let cell = Cell::new(&clustering.name, None);
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
        let Some((_, result)) = b
            .manifest(last)
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
pub(super) fn lower_bound<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
    found: &BoundResult,
) {
    let asked = &b.sweep.spec.bound.lower_bound_clusters;
    for c in lower_bound_clusters(asked, found.c_max(), context.images.set.count) {
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

pub(super) fn lower_bound_cluster<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    clustering: &'k ClusteringSpec,
    c: u32,
) -> Dependency {
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

//! What a bound search that has not ended will still ask for.

use super::Amount;
use crate::{Node, Plan};
use cedm_contract::{Kind, kinds::bound::FineGrid};
use cedm_sweep::{CandidateRule, ClusteringSpec, Clusters, SweepSpec};
use std::collections::BTreeMap;

/// C of one search that are not planned yet, as far as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tried {
    /// C that the search tries in all.
    probes: u64,
    /// Steps in which it decides.
    steps: u64,
}

/// What is not planned while searches run.
pub(super) struct Unplanned {
    /// Further jobs by kind: to be expected, and at most.
    further: BTreeMap<Kind, (Amount, Amount)>,
    /// Planned jobs that come only if some C passes.
    placeholders: BTreeMap<Kind, Amount>,
}

impl Unplanned {
    pub(super) fn of(plan: &Plan, spec: &SweepSpec, images: u64) -> Self {
        let mut found = Self {
            further: BTreeMap::new(),
            placeholders: BTreeMap::new(),
        };
        for clustering in &spec.clusterings {
            let waiting = plan
                .nodes
                .iter()
                .filter(|node| is_placeholder(node, clustering));
            let mut runs = false;
            for node in waiting {
                runs = true;
                let of_kind = found.placeholders.entry(node.kind).or_default();
                of_kind.jobs += 1;
                of_kind.work_left += node.work.amount;
            }
            if runs {
                found.add(plan, spec, clustering, images);
            }
        }
        found
    }

    /// Further jobs of a kind: to be expected, and at most.
    pub(super) fn further(&self, kind: Kind) -> (Amount, Amount) {
        self.further.get(&kind).copied().unwrap_or_default()
    }

    /// Planned jobs of a kind that come only if some C passes.
    pub(super) fn placeholders(&self, kind: Kind) -> Amount {
        self.placeholders.get(&kind).copied().unwrap_or_default()
    }

    /// The clusterings and steps that one clustering of the sweep will still need.
    fn add(&mut self, plan: &Plan, spec: &SweepSpec, clustering: &ClusteringSpec, images: u64) {
        let bound = &spec.bound;
        let epochs = f64::from(clustering.method.epochs());
        let mut more = |kind, expected: u64, most: u64, work: f64| {
            let (by_now, at_most) = self.further.entry(kind).or_default();
            by_now.jobs += expected;
            by_now.work_left += expected as f64 * work;
            at_most.jobs += most;
            at_most.work_left += most as f64 * work;
        };
        let searches = clustering.method.has_a_bound_search();
        // C that are trained and that the search itself need not try.
        let beside = match (&clustering.clusters, searches) {
            (Clusters::CMax, true) => 0,
            (Clusters::CMax, false) => 1,
            (_, false) => u64::from(bound.candidates),
            (_, true) if !bound.candidate_list.is_empty() => u64::from(bound.candidates),
            (_, true) => match bound.candidate_rule {
                CandidateRule::Probes => 0,
                // Both ends are tried.
                CandidateRule::Logarithmic => u64::from(bound.candidates).saturating_sub(2),
            },
        };
        more(Kind::Cluster, beside, beside, epochs);
        if !searches {
            return;
        }
        let of = |kind| {
            let nodes = plan.nodes.iter().filter(move |node| node.kind == kind);
            let own = nodes.filter(|node| {
                let cell = node.cell.as_ref();
                cell.is_some_and(|cell| cell.clustering == clustering.name)
            });
            own.count() as u64
        };
        let seeds = u64::from(bound.params.seeds.max(1));
        let (expected, most) = tried(spec, images);
        let planned = of(Kind::Cluster);
        let left = |tried: Tried| (tried.probes * seeds).saturating_sub(planned);
        more(Kind::Cluster, left(expected), left(most), epochs);
        let planned = of(Kind::Bound);
        let left = |tried: Tried| tried.steps.saturating_sub(planned);
        more(Kind::Bound, left(expected), left(most), 1.0);
        if bound.lower_bound && bound.lower_bound_clusters.is_empty() {
            more(Kind::Cluster, 3, 3, epochs);
        }
    }
}

/// Whether a node belongs to a network of this clustering whose C the search decides.
fn is_placeholder(node: &Node, clustering: &ClusteringSpec) -> bool {
    let unknown =
        |cell: &crate::Cell| cell.clustering == clustering.name && cell.clusters.is_none();
    clustering.clusters.needs_bound()
        && node.kind != Kind::Bound
        && node.cell.as_ref().is_some_and(unknown)
}

/// C that a search tries: where doubling fails in the middle of its rungs, as it did in the
/// published runs (50 to 800 of 50 to 12,800), and where it tries as many as it can.
fn tried(spec: &SweepSpec, images: u64) -> (Tried, Tried) {
    let params = &spec.bound.params;
    let cap = u64::from(params.cap).min(images);
    let start = u64::from(params.start.max(1));
    let rungs = std::iter::successors(Some(start), |c| c.checked_mul(2))
        .take_while(|c| *c <= cap)
        .count()
        .max(1) as u32;
    // Doubling fails at the rung of this number, from 1; beyond the last it never fails.
    let failing = |rung: u32| {
        let doubled = u64::from(rung.min(rungs));
        if rung == 1 {
            return Tried {
                probes: 1,
                steps: 2,
            };
        }
        let passing = start << (rung - 2);
        let end = if rung > rungs { cap + 1 } else { 2 * passing };
        let (finer, rounds) = finer(params.fine, passing, end.max(passing + 1), rung > rungs);
        Tried {
            probes: doubled + finer,
            steps: doubled + rounds + 1,
        }
    };
    let all: Vec<Tried> = (1..=rungs + 1).map(failing).collect();
    let most = Tried {
        probes: all.iter().map(|one| one.probes).max().unwrap_or(1),
        steps: all.iter().map(|one| one.steps).max().unwrap_or(1),
    };
    (failing(rungs.div_ceil(2).max(2).min(rungs + 1)), most)
}

/// C between a passing one and the end of the interval, and in how many rounds they are tried.
fn finer(fine: FineGrid, passing: u64, end: u64, to_the_cap: bool) -> (u64, u64) {
    match fine {
        FineGrid::Step { step } => {
            let step = u64::from(step.max(1));
            ((end - 1) / step - passing / step, 1)
        }
        FineGrid::Interval { parts } => {
            let points = u64::from(parts).saturating_sub(1) + u64::from(to_the_cap);
            (points.min(end - passing - 1), 1)
        }
        FineGrid::Bisect { resolution } => {
            let halvings = ((end - passing) / u64::from(resolution.max(1))).max(1);
            let rounds = u64::from(u64::BITS - halvings.leading_zeros());
            (rounds, rounds)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_expect_the_published_search() {
        let toml = crate::fixtures::TOML.replace(
            "start = 5\nfine_step = 8\ncandidates = 3\ncandidate_rule = \"probes\"\n",
            "",
        );
        let spec = SweepSpec::parse(&toml).unwrap();
        let (expected, most) = tried(&spec, 50_000);
        // 50, 100, 200, 400, 800, and 500, 600, 700 between the last two.
        assert_eq!((expected.probes, expected.steps), (8, 7));
        // 50 to 12,800, and at most three between two of them.
        assert_eq!(most.probes, 12);
    }
}

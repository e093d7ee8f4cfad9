//! The upper-bound search of spec §6.1: double C while the utilisation exceeds alpha, then look between the last C that
//! passed and the first that failed.
//!
//! Utilisation is not monotone in C, so the highest passing C wins, never the one before the first failure. One comparison,
//! strict, holds in both phases.

use cedm_contract::{
    BoundDecision, BoundResult, Probe,
    params::{BoundParams, FineGrid},
};
use std::collections::BTreeMap;

/// One clustering: at C clusters, `used` of them hold at least one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// C.
    pub clusters: u32,
    /// Its seed.
    pub seed: u64,
    /// U.
    pub used: u32,
}

/// Which C the search may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid<'a> {
    /// Any up to `limit`; in the second phase every multiple of `step`.
    Step {
        /// Distance of grid points.
        step: u32,
        /// Largest C.
        limit: u32,
    },
    /// Any up to `limit`; in the second phase halves of the gap until it is at most `resolution`.
    Bisect {
        /// Gap at which to stop.
        resolution: u32,
        /// Largest C.
        limit: u32,
    },
    /// These alone, ascending: a table that is there already. Doubling ends where the table does.
    Listed(&'a [u32]),
}

/// Where a search stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// What was looked at, in the order of the search.
    pub trace: Vec<Probe>,
    /// Largest C of the doubling phase that passed.
    pub last_pass: Option<u32>,
    /// C at which doubling failed; absent when it ran into the limit or still runs.
    pub first_fail: Option<u32>,
    /// What next.
    pub decision: BoundDecision,
}

impl Search {
    /// As a job result: probes ascending by C.
    pub fn into_result(mut self) -> BoundResult {
        self.trace.sort_by_key(|probe| probe.clusters);
        BoundResult { probes: self.trace, decision: self.decision }
    }
}

/// r_C over all seeds, by one division, so that ties with alpha compare as the literals do.
pub fn utilisation(clusters: u32, used: &[u32]) -> f64 {
    let sum: u64 = used.iter().map(|u| u64::from(*u)).sum();
    sum as f64 / (u64::from(clusters) * used.len() as u64) as f64
}

/// One step for a job: what to probe after `history`, or C_max. A C counts once all its seeds are there.
pub fn next(history: &[Observation], params: &BoundParams, images: u64) -> BoundResult {
    let mut by_clusters: BTreeMap<u32, BTreeMap<u64, u32>> = BTreeMap::new();
    for observation in history {
        by_clusters.entry(observation.clusters).or_default().insert(observation.seed, observation.used);
    }
    let seeds = params.seeds.max(1) as usize;
    let used = |c: u32| by_clusters.get(&c).filter(|seeds_of| seeds_of.len() >= seeds).map(|seeds_of| seeds_of.values().copied().collect());
    let limit = params.cap.min(u32::try_from(images).unwrap_or(u32::MAX));
    let grid = match params.fine {
        FineGrid::Step { step } => Grid::Step { step, limit },
        FineGrid::Bisect { resolution } => Grid::Bisect { resolution, limit },
    };
    search(params.alpha, params.start, grid, used).into_result()
}

/// The search over everything that `used` knows: U of every seed at C, or `None` where C has not been clustered yet.
pub fn search(alpha: f64, start: u32, grid: Grid<'_>, used: impl Fn(u32) -> Option<Vec<u32>>) -> Search {
    let mut state = Search { trace: Vec::new(), last_pass: None, first_fail: None, decision: BoundDecision::Probe { clusters: Vec::new() } };
    if !grid.allows(start) {
        state.decision = BoundDecision::Found { c_max: None, reason: format!("the first C = {start} is {}", grid.beyond()) };
        return state;
    }
    let probe = |c: u32| {
        used(c).map(|used| {
            let utilisation = utilisation(c, &used);
            Probe { clusters: c, used, utilisation, passes: utilisation > alpha }
        })
    };

    let mut at = Some(start);
    while let Some(c) = at {
        let Some(found) = probe(c) else {
            state.decision = BoundDecision::Probe { clusters: vec![c] };
            return state;
        };
        let passes = found.passes;
        state.trace.push(found);
        if passes {
            state.last_pass = Some(c);
            at = c.checked_mul(2).filter(|double| grid.allows(*double));
        } else {
            state.first_fail = Some(c);
            at = None;
        }
    }
    let Some(mut low) = state.last_pass else {
        state.decision = BoundDecision::Found { c_max: None, reason: format!("even the first C = {start} has a utilisation of at most {alpha}") };
        return state;
    };

    match grid {
        Grid::Bisect { resolution, limit } => {
            let mut high = state.first_fail.unwrap_or_else(|| limit.saturating_add(1));
            while high - low > resolution.max(1) {
                let middle = low + (high - low) / 2;
                let Some(found) = probe(middle) else {
                    state.decision = BoundDecision::Probe { clusters: vec![middle] };
                    return state;
                };
                if found.passes {
                    low = middle;
                } else {
                    high = middle;
                }
                state.trace.push(found);
            }
        }
        Grid::Step { .. } | Grid::Listed(_) => {
            let (known, unknown): (Vec<_>, Vec<_>) =
                grid.between(low, state.first_fail).into_iter().map(|c| probe(c).ok_or(c)).partition(Result::is_ok);
            state.trace.extend(known.into_iter().filter_map(Result::ok));
            if !unknown.is_empty() {
                state.decision = BoundDecision::Probe { clusters: unknown.into_iter().filter_map(Result::err).collect() };
                return state;
            }
        }
    }
    let c_max = state.trace.iter().filter(|probe| probe.passes).map(|probe| probe.clusters).max();
    let reason = match state.first_fail {
        Some(fail) => format!("utilisation exceeds {alpha} at {} and no longer at {fail}", c_max.unwrap_or(low)),
        None => format!("utilisation exceeds {alpha} as far as C may go: any more would be {}", grid.beyond()),
    };
    state.decision = BoundDecision::Found { c_max, reason };
    state
}

impl Grid<'_> {
    fn allows(self, c: u32) -> bool {
        match self {
            Grid::Step { limit, .. } | Grid::Bisect { limit, .. } => c <= limit,
            Grid::Listed(list) => list.contains(&c),
        }
    }

    /// Grid points above `low` and below `high`, or up to the limit where doubling never failed.
    fn between(self, low: u32, high: Option<u32>) -> Vec<u32> {
        let below = |c: u32| high.is_none_or(|high| c < high);
        match self {
            Grid::Listed(list) => list.iter().copied().filter(|c| *c > low && below(*c)).collect(),
            Grid::Step { step, limit } => {
                let step = step.max(1);
                let first = (u64::from(low) / u64::from(step) + 1) * u64::from(step);
                let points = (first..).step_by(step as usize).map_while(|c| u32::try_from(c).ok());
                points.take_while(|c| *c <= limit && below(*c)).collect()
            }
            Grid::Bisect { .. } => Vec::new(),
        }
    }

    fn beyond(self) -> String {
        match self {
            Grid::Step { limit, .. } | Grid::Bisect { limit, .. } => format!("above {limit}, the cap or the number of images"),
            Grid::Listed(_) => "outside the table".to_owned(),
        }
    }
}

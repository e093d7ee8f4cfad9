//! One step of the search for the upper bound: what to probe next, or C_max (spec §6).

use super::JobKind;
use crate::{Service, inputs::inputs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The upper-bound search (spec §6.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundParams {
    /// Utilisation must exceed this, strictly.
    pub alpha: f64,
    /// First C that is probed; the doubling phase starts from it.
    pub start: u32,
    /// No C above this is tried; the number of images is a cap too.
    pub cap: u32,
    /// How the search narrows the interval after the doubling phase.
    pub fine: FineGrid,
    /// Clusterings per C; their mean utilisation counts.
    pub seeds: u32,
}

impl Default for BoundParams {
    fn default() -> Self {
        Self {
            alpha: 0.96,
            start: 50,
            cap: 12_800,
            fine: FineGrid::default(),
            seeds: 1,
        }
    }
}

/// How the grid between the last passing and the first failing C of the doubling phase is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fine", rename_all = "snake_case")]
pub enum FineGrid {
    /// Every multiple of `step` strictly between them; the highest passing one wins.
    Step {
        /// Distance of grid points.
        step: u32,
    },
    /// The points that divide the interval into so many equal parts; the highest passing one wins.
    /// A step that follows the interval is never as large as it.
    Interval {
        /// Number of parts, at least 2.
        parts: u32,
    },
    /// Bisection until the gap is at most `resolution`.
    Bisect {
        /// Gap at which to stop.
        resolution: u32,
    },
}

impl Default for FineGrid {
    /// Quarters: between 400 and 800 these are 500, 600 and 700, as in the published runs.
    fn default() -> Self {
        FineGrid::Interval { parts: 4 }
    }
}

impl JobKind for BoundParams {
    const SERVICE: Service = Service::Bounds;
    const VERSION: u32 = 1;
    // It only reads and writes.
    const STALL_AFTER_S: u64 = 900;
    type Inputs<T> = BoundInputs<T>;
    type Result = BoundResult;
}

inputs! {
    /// What a step of the search reads.
    pub struct BoundInputs<T> {
        /// The image set (Import): its size is an upper limit of C.
        pub images: T as "images",
        /// Every clustering so far (Cluster), by C and seed.
        pub probes: BTreeMap<(u32, u64), T> as "probe",
    }
}

/// Result of one step of the bound search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundResult {
    /// Every probe so far, ascending by C.
    pub probes: Vec<Probe>,
    /// Which C to cluster next, or the end of the search.
    pub decision: BoundDecision,
}

impl BoundResult {
    /// C_max, once it is found; `None` too when no C passes.
    pub fn c_max(&self) -> Option<u32> {
        match self.decision {
            BoundDecision::Found { c_max, .. } => c_max,
            BoundDecision::Probe { .. } => None,
        }
    }

    /// The smallest C above C_max that was tried and fails: the bound is known to lie below it.
    /// `None` where every larger C is untried, and while C_max is not found.
    pub fn fails_above(&self) -> Option<u32> {
        let c_max = self.c_max()?;
        let above = self.probes.iter().map(|probe| probe.clusters);
        above.filter(|c| *c > c_max).min()
    }

    /// Every C up to C_max that passes, ascending; empty until C_max is found.
    pub fn passing(&self) -> Vec<u32> {
        let Some(c_max) = self.c_max() else {
            return Vec::new();
        };
        let passing = self
            .probes
            .iter()
            .filter(|probe| probe.passes && probe.clusters <= c_max);
        passing.map(|probe| probe.clusters).collect()
    }
}

/// One probe of the bound search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// C, the number of cluster slots of the probe.
    pub clusters: u32,
    /// U of every seed.
    pub used: Vec<u32>,
    /// Mean utilisation over the seeds.
    pub utilisation: f64,
    /// Standard deviation (ddof 1) of the utilisation over the seeds; absent for a single seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilisation_std: Option<f64>,
    /// Whether utilisation > alpha.
    pub passes: bool,
}

/// What comes next in a bound search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "next", rename_all = "snake_case")]
pub enum BoundDecision {
    /// Cluster at these C, then ask again.
    Probe {
        /// The values of C to cluster at, ascending.
        clusters: Vec<u32>,
    },
    /// The search is over.
    Found {
        /// Largest C whose utilisation exceeds alpha; absent when even the first C fails.
        c_max: Option<u32>,
        /// Why it ended, for people.
        reason: String,
    },
}

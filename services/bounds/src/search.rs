//! The search for the upper bound C_max as a pure function: C is doubled while utilisation exceeds
//! alpha, then a finer grid is probed between the last C that passed and the first that failed.
//!
//! Utilisation is noisy and not monotone in C (the published CIFAR-10 tables have r_150 = 0.987 <
//! r_200 = 0.995), so C_max is the highest passing probe, not the one before the first failure.
//! Every comparison is a strict `>` on one correctly rounded division: exact ties occur in the
//! published tables (576/600 = 0.96).

use cedm_contract::kinds::bound::{BoundDecision, BoundParams, BoundResult, FineGrid, Probe};
use cedm_fault::{Fault, HasFault};
use std::collections::BTreeMap;

/// Clusterings at one C: the number of clusters with at least one image, for every seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Number of clusters C that images could be assigned to.
    pub clusters: u32,
    /// Used clusters U of every seed; at least one seed.
    pub used: Vec<u32>,
}

/// Why no next step can be given.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SearchError {
    /// A parameter out of range.
    #[error("bound.{field} is {found}, expected {expected}")]
    Parameter {
        /// Name of the parameter, as in the sweep file.
        field: &'static str,
        /// The value that was given.
        found: String,
        /// The allowed values, in words.
        expected: &'static str,
    },
    /// A probe that cannot exist: without seeds, given twice, or with more used clusters than C.
    #[error("the probe at C = {clusters} {reason}")]
    Observation {
        /// C of the probe.
        clusters: u32,
        /// What is wrong with it.
        reason: String,
    },
}

impl HasFault for SearchError {
    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// Mean utilisation r_C over the seeds. For a single seed it is one division, U / C, so that ties
/// compare exactly.
pub fn utilisation(observation: &Observation) -> f64 {
    let total: u64 = observation.used.iter().map(|&used| u64::from(used)).sum();
    total as f64 / (u64::from(observation.clusters) * observation.used.len() as u64) as f64
}

/// Standard deviation (ddof 1) of the utilisation over the seeds; `None` for one seed.
pub fn spread(observation: &Observation) -> Option<f64> {
    let count = observation.used.len() as f64;
    let shares = || {
        observation
            .used
            .iter()
            .map(|&used| f64::from(used) / f64::from(observation.clusters))
    };
    let mean = shares().sum::<f64>() / count;
    (count > 1.0)
        .then(|| (shares().map(|share| (share - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt())
}

/// The next step of the search after `history`, for a set of `images` images.
///
/// Returns every probe so far in ascending C, and either the C to probe next (all of them may be
/// computed at the same time) or the end: C_max, absent when even the first C fails, with the
/// reason.
///
/// # Errors
/// [`SearchError`] for parameters out of range, a C probed twice, or more used clusters than C.
pub fn next(
    history: &[Observation],
    params: &BoundParams,
    images: u64,
) -> Result<BoundResult, SearchError> {
    check_parameters(params)?;
    let mut probes = BTreeMap::new();
    for observation in history {
        check_observation(observation)?;
        let utilisation = utilisation(observation);
        let probe = Probe {
            clusters: observation.clusters,
            used: observation.used.clone(),
            utilisation,
            utilisation_std: spread(observation),
            passes: utilisation > params.alpha,
        };
        if probes.insert(observation.clusters, probe).is_some() {
            return Err(SearchError::Observation {
                clusters: observation.clusters,
                reason: "is given twice".to_owned(),
            });
        }
    }
    // More clusters than images cannot all be used.
    let cap = u64::from(params.cap).min(images).min(u64::from(u32::MAX)) as u32;
    let decision = decide(&probes, params, cap, images);
    Ok(BoundResult {
        probes: probes.into_values().collect(),
        decision,
    })
}

fn decide(
    probes: &BTreeMap<u32, Probe>,
    params: &BoundParams,
    cap: u32,
    images: u64,
) -> BoundDecision {
    // For the reason that is reported: which of the two limits stopped the search.
    let limit = if u64::from(params.cap) >= images {
        format!("the {images} images")
    } else {
        format!("the cap of {}", params.cap)
    };
    if params.start > cap {
        let reason = format!("the first C, {}, is above {limit}", params.start);
        return found(None, reason);
    }
    let mut passing = None;
    let mut clusters = params.start;
    let failing = loop {
        match probes.get(&clusters) {
            // One C at a time: whether the next is needed depends on this one.
            None => {
                return BoundDecision::Probe {
                    clusters: vec![clusters],
                };
            }
            Some(probe) if !probe.passes => break Some(clusters),
            Some(_) => passing = Some(clusters),
        }
        match clusters.checked_mul(2).filter(|&double| double <= cap) {
            Some(double) => clusters = double,
            None => break None,
        }
    };
    let Some(passing) = passing else {
        let reason = format!("the first C, {}, fails already", params.start);
        return found(None, reason);
    };
    // The finer grid ends below the first failure, or at the cap, which is itself allowed.
    let end = failing.unwrap_or_else(|| cap.saturating_add(1));
    // Grid points do not depend on each other: all missing ones are requested at once.
    let missing = match params.fine {
        FineGrid::Step { step } => grid(passing, end, step)
            .filter(|c| !probes.contains_key(c))
            .collect(),
        FineGrid::Interval { parts } => {
            let mut points = divided(passing, end, parts);
            // Below a failure the interval ends; the cap is itself allowed.
            points.extend(
                failing
                    .is_none()
                    .then_some(cap)
                    .filter(|cap| *cap > passing),
            );
            points.retain(|c| !probes.contains_key(c));
            points.dedup();
            points
        }
        FineGrid::Bisect { resolution } => bisect(probes, passing, end, resolution)
            .into_iter()
            .collect::<Vec<u32>>(),
    };
    if !missing.is_empty() {
        return BoundDecision::Probe { clusters: missing };
    }
    // Over all probes, also those of an earlier search with other parameters.
    let best = probes
        .values()
        .filter(|probe| probe.passes)
        .map(|probe| probe.clusters)
        .max();
    let reason = match failing {
        Some(failing) => {
            let finer = probes.range(passing + 1..failing).count();
            let best = best.unwrap_or(passing);
            let next = probes.range(best + 1..).next().map_or(failing, |(c, _)| *c);
            format!(
                "doubling passed at {passing} and failed at {failing}, {}; C_max is known to lie \
                 from {best} to below {next}",
                match finer {
                    0 => "and no C between them was tried".to_owned(),
                    1 => "with 1 finer C between them".to_owned(),
                    finer => format!("with {finer} finer C between them"),
                }
            )
        }
        None => format!("doubling never failed up to {limit}: C_max may be larger"),
    };
    found(best, reason)
}

fn found(c_max: Option<u32>, reason: String) -> BoundDecision {
    BoundDecision::Found { c_max, reason }
}

/// Multiples of `step` strictly between `passing` and `end`.
fn grid(passing: u32, end: u32, step: u32) -> impl Iterator<Item = u32> {
    // In u64: multiples near the largest u32 must not wrap.
    let first = u64::from(passing / step + 1) * u64::from(step);
    (first..u64::from(end))
        .step_by(step as usize)
        .map(|c| c as u32)
}

/// The points strictly between `passing` and `end` that divide the interval into `parts` equal
/// parts, ascending.
fn divided(passing: u32, end: u32, parts: u32) -> Vec<u32> {
    // In u64: products of two large u32 must not wrap.
    let interval = u64::from(end.saturating_sub(passing));
    let point = |part: u64| u64::from(passing) + interval * part / u64::from(parts);
    let points = (1..u64::from(parts)).map(|part| point(part) as u32);
    let mut points: Vec<u32> = points.filter(|c| *c > passing && *c < end).collect();
    points.dedup();
    points
}

/// The midpoint to probe next; `None` once the gap is at most `resolution`. Bisection assumes that
/// utilisation falls with C: it needs fewer probes than a grid and may miss a C that passes by
/// noise.
fn bisect(probes: &BTreeMap<u32, Probe>, passing: u32, end: u32, resolution: u32) -> Option<u32> {
    let (mut low, mut high) = (passing, end);
    while high - low > resolution.max(1) {
        // Not (low + high) / 2, which may overflow.
        let middle = low + (high - low) / 2;
        match probes.get(&middle) {
            None => return Some(middle),
            Some(probe) if probe.passes => low = middle,
            Some(_) => high = middle,
        }
    }
    None
}

fn check_parameters(params: &BoundParams) -> Result<(), SearchError> {
    let wrong = |field, found: String, expected| {
        Err(SearchError::Parameter {
            field,
            found,
            expected,
        })
    };
    if !(params.alpha > 0.0 && params.alpha < 1.0) {
        return wrong(
            "alpha",
            params.alpha.to_string(),
            "a number above 0 and below 1",
        );
    }
    // One cluster is always used: it says nothing.
    if params.start < 2 {
        return wrong("start", params.start.to_string(), "at least 2 clusters");
    }
    match params.fine {
        FineGrid::Step { step: 0 } => wrong("step", "0".to_owned(), "at least 1"),
        FineGrid::Interval { parts: 0 | 1 } => wrong("parts", "0 or 1".to_owned(), "at least 2"),
        FineGrid::Bisect { resolution: 0 } => wrong("resolution", "0".to_owned(), "at least 1"),
        _ => Ok(()),
    }
}

fn check_observation(observation: &Observation) -> Result<(), SearchError> {
    let wrong = |reason: String| {
        Err(SearchError::Observation {
            clusters: observation.clusters,
            reason,
        })
    };
    if observation.used.is_empty() {
        return wrong("has no seed".to_owned());
    }
    match observation
        .used
        .iter()
        .find(|&&used| used == 0 || used > observation.clusters)
    {
        Some(used) => wrong(format!(
            "uses {used} clusters, expected 1 to {}",
            observation.clusters
        )),
        None => Ok(()),
    }
}

/// Runs the whole search; `probe` returns the number of used clusters of every seed at a C.
///
/// # Errors
/// As [`next`].
pub fn search(
    params: &BoundParams,
    images: u64,
    mut probe: impl FnMut(u32) -> Vec<u32>,
) -> Result<BoundResult, SearchError> {
    let mut history = Vec::new();
    loop {
        let result = next(&history, params, images)?;
        match &result.decision {
            BoundDecision::Probe { clusters } => {
                history.extend(clusters.iter().map(|&clusters| Observation {
                    clusters,
                    used: probe(clusters),
                }));
            }
            BoundDecision::Found { .. } => return Ok(result),
        }
    }
}

#[cfg(test)]
mod tests;

//! What cannot be decoded, or says that it is what it is not: counted by place, logged once each.
//!
//! Whoever may write somewhere may write anything there. Every reader skips what it cannot decode
//! and says so here, so that it shows in `cedm_undecodable_messages_total` wherever it lies.

use crate::{LEASES, SWEEPS, WORKERS};
use cedm_contract::{
    ADVISORIES_STREAM, CHECKPOINT_PREFIX, DEAD_STREAM, DELAYS_STREAM, EVENTS_STREAM, JOBS_STREAM,
    MANIFEST_PREFIX, SWEEP_PREFIX,
};
use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// So many are told apart; after that all are counted at every look.
const MOST_KNOWN: usize = 100_000;
/// So many are logged as warnings; a flood of them must not fill the logs.
const MOST_WARNINGS: usize = 1_000;

/// Where something was found that cannot be decoded; the label `place` of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The stream of queued jobs.
    Jobs,
    /// Retries before their time, or on their way back into the queue.
    Delays,
    /// The stream of events.
    Events,
    /// The stream of dead letters.
    Dead,
    /// The stream of the broker's advisories.
    Advisories,
    /// The bucket of active sweeps.
    SweepEntries,
    /// The bucket of heartbeats.
    Heartbeats,
    /// The bucket of leases.
    Leases,
    /// Objects below `manifest/`.
    Manifests,
    /// Objects below `sweep/`.
    Sweeps,
    /// Records of checkpoints.
    Checkpoints,
}

impl Place {
    /// Every place, in the order of the metric.
    pub const ALL: [Place; 11] = [
        Place::Jobs,
        Place::Delays,
        Place::Events,
        Place::Dead,
        Place::Advisories,
        Place::SweepEntries,
        Place::Heartbeats,
        Place::Leases,
        Place::Manifests,
        Place::Sweeps,
        Place::Checkpoints,
    ];

    /// The name of the stream or bucket, or the prefix of the objects.
    pub fn label(self) -> &'static str {
        match self {
            Place::Jobs => JOBS_STREAM,
            Place::Delays => DELAYS_STREAM,
            Place::Events => EVENTS_STREAM,
            Place::Dead => DEAD_STREAM,
            Place::Advisories => ADVISORIES_STREAM,
            Place::SweepEntries => SWEEPS,
            Place::Heartbeats => WORKERS,
            Place::Leases => LEASES,
            Place::Manifests => MANIFEST_PREFIX,
            Place::Sweeps => SWEEP_PREFIX,
            Place::Checkpoints => CHECKPOINT_PREFIX,
        }
    }
}

/// What this process has found so far.
#[derive(Default)]
struct Totals {
    totals: [u64; Place::ALL.len()],
    known: HashSet<u64>,
}

static TOTALS: Mutex<Option<Totals>> = Mutex::new(None);

fn totals_so_far() -> MutexGuard<'static, Option<Totals>> {
    TOTALS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts something that cannot be decoded, and logs it. The same `name` (subject with sequence,
/// key with revision, object) is counted once per process, however often it is looked at.
pub fn undecodable(place: Place, name: &str, reason: &str) {
    let mut hasher = DefaultHasher::new();
    (place, name).hash(&mut hasher);
    let warns = {
        let mut found = totals_so_far();
        let found = found.get_or_insert_default();
        if found.known.contains(&hasher.finish()) {
            return;
        }
        if found.known.len() < MOST_KNOWN {
            found.known.insert(hasher.finish());
        }
        found.totals[place as usize] += 1;
        found.known.len() <= MOST_WARNINGS
    };
    let place = place.label();
    if warns {
        tracing::warn!(
            place,
            name,
            reason,
            "this cannot be decoded, and is skipped"
        );
    } else {
        tracing::debug!(
            place,
            name,
            reason,
            "this cannot be decoded, and is skipped"
        );
    }
}

/// How much this process has found at each place.
pub(crate) fn totals() -> impl Iterator<Item = (Place, u64)> {
    let totals = totals_so_far()
        .as_ref()
        .map(|found| found.totals)
        .unwrap_or_default();
    Place::ALL.into_iter().zip(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_counted_once_and_shows_in_the_metrics() {
        let metrics = crate::Metrics::new("sampler", &[]).unwrap();
        let shown = || {
            let text = metrics.render();
            let series = r#"cedm_undecodable_messages_total{place="leases",service="sampler"} "#;
            let value = text.lines().find_map(|line| line.strip_prefix(series));
            value.map(|value| value.parse::<u64>().unwrap())
        };
        // Other tests of this process find nothing there.
        assert_eq!(shown(), Some(0));
        for name in ["a", "b", "a"] {
            undecodable(Place::Leases, name, "no lease");
        }
        assert_eq!(shown(), Some(2));
        assert_eq!(shown(), Some(2), "rendering changes nothing");
    }

    #[test]
    fn places_and_their_labels_are_distinct() {
        let labels: HashSet<&str> = Place::ALL.iter().map(|place| place.label()).collect();
        assert_eq!(labels.len(), Place::ALL.len());
        for (index, place) in Place::ALL.into_iter().enumerate() {
            assert_eq!(place as usize, index);
        }
    }
}

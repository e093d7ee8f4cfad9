//! What the heartbeats of all workers say together.

use cedm_contract::{Heartbeat, Service};
use cedm_runtime::{VERSION, clock_warning};

/// Names of the services of which no process is alive.
pub fn absent(alive: &[Heartbeat]) -> Vec<&'static str> {
    let names = Service::RUNNING.iter().map(|service| service.name());
    names
        .filter(|name| alive.iter().all(|worker| worker.service != *name))
        .collect()
}

/// A sentence for each clock that is wrong, this machine's first, which is ahead of the broker's by
/// `own_skew_ms`.
pub fn clock_warnings(alive: &[Heartbeat], own_skew_ms: i64) -> Vec<String> {
    let own = ("this machine", Some(own_skew_ms));
    let all = alive
        .iter()
        .map(|worker| (worker.worker.as_str(), worker.clock_skew_ms));
    let clocks = std::iter::once(own).chain(all);
    clocks
        .filter_map(|(name, skew_ms)| Some(format!("{name}: {}", clock_warning(skew_ms?)?)))
        .collect()
}

/// The workers whose program is of another version than this one.
pub fn of_other_versions(alive: &[Heartbeat]) -> impl Iterator<Item = &Heartbeat> {
    alive.iter().filter(|worker| worker.version != VERSION)
}

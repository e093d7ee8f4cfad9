//! From a sweep and the observed state to the jobs that come next ([`plan`]), and to the outcome of
//! the sweep ([`fold`]). A [`Graph`] is the plan kept in memory and updated by
//! what happens; the coordinator still plans from scratch, tests and the control-plane bench
//! update.
//!
//! Pure: both read an [`ObservedState`] of manifests and dead letters and return plain data. No
//! I/O, no async, no clock, no tensors. A job can only be keyed once the digests of its inputs are
//! known, so the plan has job keys as far as manifests reach; a node beyond stands in it with the
//! reason why it waits.

#![forbid(unsafe_code)]

mod builder;
mod candidates;
mod chain;
mod estimate;
#[cfg(test)]
mod fixtures;
mod fold;
mod graph;
mod message;
mod node;
mod observed;
mod obstacles;
mod pace;
mod statistics;
#[cfg(test)]
mod tests;

pub use estimate::{Amount, KindEstimate, estimate};
pub use fold::fold;
pub use graph::Graph;
pub use node::{Cell, Node, Plan, Purpose, State, Work, distinct};
pub use observed::{Found, Observed, ObservedState};
pub use obstacles::obstacles;
pub use pace::{KindPace, TimeLeft, pace, time_left};

use cedm_sweep::Sweep;

/// Everything that the sweep asks for, each job with its state. Nodes stand after what they wait
/// for.
pub fn plan(sweep: &Sweep, observed: &dyn ObservedState) -> Plan {
    Graph::new(sweep, observed).plan(observed)
}

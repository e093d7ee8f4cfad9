//! From a sweep and what is known of it to the jobs that come next, and to what has come of it.
//!
//! Pure: [`plan`] and [`fold`] read a [`Knowledge`] of manifests and dead letters and return plain
//! data. No I/O, no async, no clock, no tensors. A job can only be keyed once the digests of its
//! inputs are known, so the plan goes as deep as manifests reach; what lies beyond stands in it
//! with the reason why it waits.

#![forbid(unsafe_code)]

mod builder;
mod candidates;
mod chain;
mod estimate;
#[cfg(test)]
mod fixtures;
mod fold;
mod knowledge;
mod node;
mod obstacles;
#[cfg(test)]
mod tests;

pub use candidates::spread;
pub use estimate::{KindEstimate, estimate};
pub use fold::fold;
pub use knowledge::{Knowledge, Known};
pub use node::{Cell, Node, Plan, Purpose, State, Work};
pub use obstacles::obstacles;

use cedm_sweep::Sweep;

/// Everything that the sweep asks for, each job with its state. Nodes stand after what they wait
/// for.
pub fn plan(sweep: &Sweep, known: &dyn Knowledge) -> Plan {
    let mut builder = builder::PlanBuilder::new(sweep, known);
    chain::build(&mut builder);
    builder.finish()
}

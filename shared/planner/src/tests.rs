//! The properties of the planner, with jobs that are performed in any order.

mod answers;
mod bound;
mod end_to_end;
mod failures;
mod features;
mod graph;
mod keys;
mod merges;

use crate::{
    Observed, ObservedState, Plan, State,
    fixtures::{perform, sweep},
    fold, plan,
};
use cedm_contract::{JobKey, Kind};
use cedm_sweep::{Sweep, outcome::SweepOutcome};
use std::collections::{BTreeMap, BTreeSet};

/// Performs ready jobs until none is left; `pick` chooses which of them come next, `fails` which
/// never succeed.
fn run(
    sweep: &Sweep,
    observed: &mut Observed,
    mut pick: impl FnMut(usize) -> Vec<usize>,
    fails: impl Fn(&str) -> bool,
) -> BTreeMap<JobKey, Kind> {
    let mut performed = BTreeMap::new();
    loop {
        let plan = plan(sweep, observed);
        check_sound(&plan, observed);
        let ready = plan.ready();
        if ready.is_empty() {
            return performed;
        }
        let chosen: BTreeSet<usize> = pick(ready.len())
            .into_iter()
            .map(|i| i % ready.len())
            .collect();
        for index in chosen {
            let job = ready[index];
            if fails(&job.hints.label) {
                observed.record_dead(job.key.clone(), "the disk is full");
            } else {
                observed.record(perform(job, observed));
            }
            assert!(
                performed.insert(job.key.clone(), job.kind()).is_none(),
                "{} was emitted again after it was performed",
                job.hints.label
            );
        }
    }
}

/// Ids are unique, nodes stand after what they wait for, and every key rests on manifests that
/// exist with the digest it pins.
fn check_sound(plan: &Plan, observed: &Observed) {
    let mut before = BTreeSet::new();
    for node in &plan.nodes {
        match &node.state {
            State::Waiting { on } => assert!(
                !on.is_empty() && on.iter().all(|id| before.contains(id)),
                "{}: {on:?}",
                node.id
            ),
            State::Blocked { by } => assert!(
                !by.is_empty() && by.iter().all(|id| before.contains(id)),
                "{}: {by:?}",
                node.id
            ),
            State::Done { .. } | State::Ready => assert!(node.job.is_some(), "{}", node.id),
            State::Dead { .. } => {}
        }
        for input in node.job.iter().flat_map(|job| &job.inputs) {
            let manifest = observed
                .manifest(&input.key)
                .unwrap_or_else(|| panic!("{} reads {} which no job made", node.id, input.role));
            assert_eq!(manifest.digest, input.digest, "{}", node.id);
        }
        assert!(
            before.insert(node.id.clone()),
            "two nodes are called {}",
            node.id
        );
    }
}

/// Picks every ready job.
fn all(n: usize) -> Vec<usize> {
    (0..n).collect()
}

/// A history in which no job fails.
fn never(_: &str) -> bool {
    false
}

/// A sweep that was driven to completion, and its outcome.
pub(crate) fn finished(toml: &str) -> (Sweep, Observed, SweepOutcome) {
    let (sweep, mut observed) = sweep("digits", toml);
    run(&sweep, &mut observed, all, never);
    let outcome = fold(&sweep, &observed);
    (sweep, observed, outcome)
}

//! What was asked for and is not there, each with its reason and the network that lacks it.

use super::View;
use crate::{
    State,
    graph::{Entry, States},
};
use cedm_contract::Kind;
use cedm_sweep::outcome::{
    BoundOutcome, CellOutcome, Missing, MissingCell, SetOutcome, SnapshotOutcome,
};
use std::collections::BTreeSet;

/// Jobs that people know by name are listed while they are pending; others only when they are dead.
const NAMED: [Kind; 5] = [
    Kind::Bound,
    Kind::Cluster,
    Kind::Train,
    Kind::SampleSet,
    Kind::Score,
];

pub(super) fn missing(
    view: &View<'_>,
    cells: &[CellOutcome],
    bounds: &[BoundOutcome],
) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut states = States::new(view.graph, view.observed);
    for node in view.entries {
        let state = states.of(node.index);
        let (reason, pending) = match &state {
            State::Done { .. } => continue,
            State::Dead { reason } => (reason.clone(), false),
            State::Blocked { by } => (format!("needs {}, which failed", by.join(" and ")), false),
            State::Ready => ("not finished: queued or running".to_owned(), true),
            State::Waiting { on } => (format!("not finished: waits for {}", shortened(on)), true),
        };
        if matches!(state, State::Dead { .. }) || NAMED.contains(&node.kind) {
            missing.push(Missing {
                what: node.id.to_owned(),
                reason,
                key: node.key.cloned(),
                pending,
                cell: cell_of(node),
            });
        }
    }
    missing.extend(bounds.iter().filter_map(no_network));
    for cell in cells {
        missing.extend(scores_without_number(cell));
    }
    missing
}

fn cell_of(node: &Entry<'_>) -> Option<MissingCell> {
    node.cell.map(|cell| MissingCell {
        clustering: cell.clustering.clone(),
        clusters: cell.clusters,
        seed: cell.seed,
        nimg: cell.nimg,
        score: None,
    })
}

fn shortened(on: &[String]) -> String {
    match on {
        [first, second, _, ..] => format!("{first}, {second} and {} more", on.len() - 2),
        _ => on.join(", "),
    }
}

/// A bound search that ended without any C that passes.
fn no_network(bound: &BoundOutcome) -> Option<Missing> {
    let found = bound.result.as_ref()?;
    let cedm_contract::kinds::bound::BoundDecision::Found {
        c_max: None,
        reason,
    } = &found.decision
    else {
        return None;
    };
    Some(Missing {
        what: format!("networks of {}", bound.clustering),
        reason: format!("no C passes: {reason}"),
        key: None,
        pending: false,
        cell: None,
    })
}

/// Scores of finished jobs that came without a number; each once, though several jobs of the plan
/// may share a set.
fn scores_without_number(cell: &CellOutcome) -> Vec<Missing> {
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    for snapshot in &cell.snapshots {
        let sets = snapshot.sets.iter().map(|set| (set, "set"));
        let extra = snapshot.curve_set.iter().chain(&snapshot.uniform_sets);
        for (set, name) in sets.chain(extra.map(|set| (set, "extra set"))) {
            missing.extend(without_number(cell, snapshot, set, name));
        }
    }
    missing.retain(|one| seen.insert(one.what.clone()));
    missing
}

fn without_number(
    cell: &CellOutcome,
    snapshot: &SnapshotOutcome,
    set: &SetOutcome,
    set_name: &str,
) -> Vec<Missing> {
    let mut missing = Vec::new();
    for (space, scores) in &set.scores {
        let all = scores.result.scores.iter();
        for (metric, score) in all.filter(|(_, score)| score.value.is_none()) {
            let reason = score.missing.clone();
            missing.push(Missing {
                what: format!(
                    "{space}/{metric} of {} at {} kimg, {set_name} {}",
                    cell.label,
                    crate::chain::kimg(snapshot.nimg),
                    set.index
                ),
                reason: reason
                    .unwrap_or_else(|| "the evaluator gave no number and no reason".to_owned()),
                key: Some(scores.artefact.key.clone()),
                pending: false,
                cell: Some(MissingCell {
                    clustering: cell.clustering.clone(),
                    clusters: cell.clusters,
                    seed: cell.seed,
                    nimg: Some(snapshot.nimg),
                    score: Some(format!("{space}/{metric}")),
                }),
            });
        }
    }
    missing
}

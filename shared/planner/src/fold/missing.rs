//! What was asked for and is not there, each with its reason.

use super::View;
use crate::State;
use cedm_contract::Kind;
use cedm_sweep::outcome::{BoundOutcome, CellOutcome, Missing};
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
    for node in view
        .plan
        .nodes
        .iter()
        .filter(|node| node.kind != Kind::Report)
    {
        let (reason, pending) = match &node.state {
            State::Done { .. } => continue,
            State::Dead { reason } => (reason.clone(), false),
            State::Blocked { by } => (format!("needs {}, which failed", by.join(" and ")), false),
            State::Ready => ("not finished: queued or in hand".to_owned(), true),
            State::Waiting { on } => (format!("not finished: waits for {}", shortened(on)), true),
        };
        if matches!(node.state, State::Dead { .. }) || NAMED.contains(&node.kind) {
            missing.push(Missing {
                what: node.id.clone(),
                reason,
                key: node.job.as_ref().map(|job| job.key.clone()),
                pending,
            });
        }
    }
    missing.extend(bounds.iter().filter_map(no_network));
    for cell in cells {
        missing.extend(scores_without_number(cell));
    }
    missing
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
    })
}

fn scores_without_number(cell: &CellOutcome) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut seen = BTreeSet::new();
    for snapshot in &cell.snapshots {
        let others = snapshot.curve_set.iter().chain(&snapshot.uniform_sets);
        for (set, what) in snapshot
            .sets
            .iter()
            .map(|set| (set, "set"))
            .chain(others.map(|set| (set, "extra set")))
        {
            for (space, scores) in &set.scores {
                for (metric, score) in scores
                    .result
                    .scores
                    .iter()
                    .filter(|(_, score)| score.value.is_none())
                {
                    let what = format!(
                        "{space}/{metric} of {} at {} kimg, {what} {}",
                        cell.label,
                        crate::chain::kimg(snapshot.nimg),
                        set.index
                    );
                    let reason = score
                        .missing
                        .clone()
                        .unwrap_or_else(|| "the evaluator gave no number and no reason".to_owned());
                    if seen.insert(what.clone()) {
                        missing.push(Missing {
                            what,
                            reason,
                            key: Some(scores.artefact.key.clone()),
                            pending: false,
                        });
                    }
                }
            }
        }
    }
    missing
}

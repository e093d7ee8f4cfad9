//! `scores.csv`: every single score, by network, snapshot, set, space and metric.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_contract::Score;
use cedm_sweep::outcome::{CellOutcome, ScoresOutcome, SetOutcome, SnapshotOutcome};

struct Row<'a> {
    cell: &'a CellOutcome,
    snapshot: &'a SnapshotOutcome,
    /// What the set is for, as in the plan: `judge`, `curve` or `uniform`.
    purpose: &'static str,
    set: &'a SetOutcome,
    space: &'a str,
    found: &'a ScoresOutcome,
    metric: &'a str,
    score: &'a Score,
}

pub fn file(context: &ReportContext) -> Attachment {
    table(
        "scores.csv",
        &[
            ("network", |row: &Row| row.cell.label.clone()),
            ("clustering", |row| row.cell.clustering.clone()),
            ("method", |row| row.cell.method.clone()),
            ("C", |row| optional(row.cell.clusters)),
            ("U", |row| optional(row.cell.used)),
            ("utilisation", |row| optional(row.cell.utilisation)),
            ("training_images", |row| row.snapshot.nimg.to_string()),
            ("last", |row| row.snapshot.last.to_string()),
            ("purpose", |row| row.purpose.to_owned()),
            ("set", |row| row.set.index.to_string()),
            ("first_seed", |row| row.set.first_seed.to_string()),
            ("space", |row| row.space.to_owned()),
            ("metric", |row| row.metric.to_owned()),
            ("value", |row| optional(row.score.value)),
            ("std_within", |row| optional(row.score.std)),
            ("images", |row| row.found.result.count.to_string()),
            ("reference_images", |row| {
                row.found.result.reference_count.to_string()
            }),
            ("missing", |row| optional(row.score.missing.as_ref())),
            ("digest", |row| row.found.artefact.digest.to_string()),
        ],
        rows(context),
    )
}

fn rows<'a>(context: &ReportContext<'a>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for cell in &context.outcome.cells {
        for snapshot in &cell.snapshots {
            let evaluation = snapshot.sets.iter().map(|set| ("judge", set));
            let curve = snapshot.curve_set.iter().map(|set| ("curve", set));
            let uniform = snapshot.uniform_sets.iter().map(|set| ("uniform", set));
            for (purpose, set) in evaluation.chain(curve).chain(uniform) {
                for (space, found) in &set.scores {
                    let scores = found.result.scores.iter();
                    rows.extend(scores.map(|(metric, score)| Row {
                        cell,
                        snapshot,
                        purpose,
                        set,
                        space,
                        found,
                        metric,
                        score,
                    }));
                }
            }
        }
    }
    rows
}

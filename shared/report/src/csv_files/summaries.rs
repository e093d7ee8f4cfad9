//! `summaries.csv`: means over the sets of a snapshot.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::{CellOutcome, SnapshotOutcome, Summary};

struct Row<'a> {
    cell: &'a CellOutcome,
    snapshot: &'a SnapshotOutcome,
    /// What the sets are for, as in the plan: `judge`, `curve` or `uniform`.
    purpose: &'static str,
    /// The metric, as `<space>/<metric>`.
    score: &'a str,
    summary: &'a Summary,
}

pub fn file(context: &ReportContext) -> Attachment {
    table(
        "summaries.csv",
        &[
            ("network", |row: &Row| row.cell.label.clone()),
            ("clustering", |row| row.cell.clustering.clone()),
            ("C", |row| optional(row.cell.clusters)),
            ("training_images", |row| row.snapshot.nimg.to_string()),
            ("last", |row| row.snapshot.last.to_string()),
            ("purpose", |row| row.purpose.to_owned()),
            ("score", |row| row.score.to_owned()),
            ("mean", |row| row.summary.mean.to_string()),
            ("std", |row| optional(row.summary.std)),
            ("sets", |row| row.summary.values.len().to_string()),
            ("images_per_set", |row| row.summary.images.to_string()),
            ("reference_images", |row| {
                row.summary.reference_images.to_string()
            }),
        ],
        rows(context),
    )
}

fn rows<'a>(context: &ReportContext<'a>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for cell in &context.outcome.cells {
        for snapshot in &cell.snapshots {
            let evaluation = snapshot.summary.iter().map(|entry| ("judge", entry));
            // Without a set of its own the curve ends in the sets above.
            let curve = snapshot.on_equal_terms.iter();
            let curve = curve.filter(|_| snapshot.curve_set.is_some());
            let curve = curve.map(|entry| ("curve", entry));
            let uniform = snapshot.uniform.iter().map(|entry| ("uniform", entry));
            let all = evaluation.chain(curve).chain(uniform);
            rows.extend(all.map(|(purpose, (score, summary))| Row {
                cell,
                snapshot,
                purpose,
                score,
                summary,
            }));
        }
    }
    rows
}

//! What was asked for and is not there.

use crate::{
    context::ReportContext,
    format,
    section::{Section, Table},
};
use cedm_sweep::outcome::{Missing, SweepState};
use maud::html;

/// The list, unless everything is there.
pub fn section(context: &ReportContext) -> Option<Section> {
    let outcome = context.outcome;
    if outcome.missing.is_empty() {
        return None;
    }
    let row = |missing: &Missing| {
        let key = missing.key.as_ref().map_or("", |key| key.short());
        vec![
            html! { (missing.what) },
            html! { (missing.reason) },
            html! { @if missing.pending { "still possible" } @else { "needs action" } },
            html! { code { (key) } },
        ]
    };
    let table = Table {
        name: "missing-table",
        heads: ["what", "why", "state", "job"].map(str::to_owned).to_vec(),
        rows: outcome.missing.iter().map(row).collect(),
    };
    let failed = outcome.missing.iter().filter(|one| !one.pending).count() as u64;
    let body = html! {
        p {
            (format::counted(outcome.missing.len() as u64, "result")) " of this sweep " @if outcome.missing.len() == 1 { "is" } @else { "are" } " missing"
            @if failed > 0 { "; " (format::count(failed)) " will stay so until somebody acts (" code { "cedm dead list" } ")" }
            @if outcome.state == SweepState::Running { "; the sweep is still running" }
            ". What is missing is never drawn or averaged as zero."
        }
        (table.markup())
    };
    Some(Section {
        id: "missing",
        title: "Missing",
        body,
    })
}

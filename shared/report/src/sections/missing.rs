//! What was asked for and is not there.

use crate::{
    facts::Facts,
    section::{Section, Table},
    words,
};
use cedm_sweep::outcome::SweepState;
use maud::html;

/// The list, unless everything is there.
pub fn section(facts: &Facts) -> Option<Section> {
    let outcome = facts.outcome;
    if outcome.missing.is_empty() {
        return None;
    }
    let row = |missing: &cedm_sweep::outcome::Missing| {
        let key = missing.key.as_ref().map_or("", |key| key.short());
        vec![
            html! { (missing.what) },
            html! { (missing.reason) },
            html! { @if missing.pending { "can still come" } @else { "will not come by itself" } },
            html! { code { (key) } },
        ]
    };
    let table = Table {
        name: "missing-table",
        heads: ["what", "why", "prospect", "job"]
            .map(str::to_owned)
            .to_vec(),
        rows: outcome.missing.iter().map(row).collect(),
    };
    let lost = outcome
        .missing
        .iter()
        .filter(|missing| !missing.pending)
        .count() as u64;
    let body = html! {
        p {
            (words::counted(outcome.missing.len() as u64, "thing")) " asked for " @if outcome.missing.len() == 1 { "is" } @else { "are" } " not here"
            @if lost > 0 { "; " (words::count(lost)) " will not come without help (" code { "cedm \
                dead list" } ")" }
            @if outcome.state == SweepState::Running { "; the sweep is still at work" }
            ". Nothing missing is drawn or averaged as zero."
        }
        (table.markup())
    };
    Some(Section {
        id: "missing",
        title: "Missing",
        body,
    })
}

//! Every score in one table.

use super::scores::finished_cells;
use crate::{
    context::{ReportContext, end},
    format,
    measure::Measure,
    section::{Section, Table, optional},
};
use cedm_sweep::outcome::{CellOutcome, Summary};
use maud::{Markup, html};

/// Networks down, scores across.
pub fn section(context: &ReportContext) -> Section {
    let measures = context.measures();
    let fixed = ["network", "#C", "#U", "#r_C", "#training images"];
    let heads = fixed.map(str::to_owned).into_iter();
    let table = Table {
        name: "scores-table",
        heads: heads
            .chain(
                measures
                    .iter()
                    .map(|measure| format!("#{}", measure.head())),
            )
            .collect(),
        rows: finished_cells(context)
            .map(|cell| row(context, cell))
            .collect(),
    };
    let body = html! {
        p { "Mean ± standard deviation over the sample sets at the end of training; point at a \
            number for the value of each set. Behind the numbers: " (all_counts(context)) "." }
        (table.markup())
    };
    Section {
        id: "table",
        title: "All scores",
        body,
    }
}

fn row(context: &ReportContext, cell: &CellOutcome) -> Vec<Markup> {
    let none = || html! { span.quiet { "–" } };
    let whole = |value: Option<u32>| {
        value.map_or_else(none, |value| html! { (format::count(value.into())) })
    };
    let is_best = context.best().is_some_and(|best| best.label == cell.label);
    let nimg = end(cell).map_or(0, |snapshot| snapshot.nimg);
    let mut row = vec![
        html! { @if is_best { strong { (cell.label) } } @else { (cell.label) } },
        whole(cell.clusters),
        whole(cell.used),
        cell.utilisation
            .map_or_else(none, |value| html! { (format!("{value:.3}")) }),
        html! { (format::images(nimg)) },
    ];
    let score = |measure: &Measure| match context.score(cell, &measure.key) {
        Some(score) => number(context, score),
        None => match context.not_applicable(cell, measure) {
            Some(reason) => format::inapplicable(reason),
            None => optional(None, &context.why_missing(cell, &measure.key)),
        },
    };
    row.extend(context.measures().iter().map(score));
    row
}

/// A score with the values of its sets as a tooltip, and a remark where sets are missing.
fn number(context: &ReportContext, score: &Summary) -> Markup {
    let sampling = &context.outcome.spec.sampling;
    let (found, asked) = (score.values.len(), sampling.sets as usize);
    let values = score.values.iter().map(|(_, value)| format::number(*value));
    let values: Vec<String> = values.collect();
    let tooltip = format!(
        "sets: {}; {}",
        values.join(", "),
        context.sample_counts(score)
    );
    html! {
        span title=(tooltip) { (format::spread(score.mean, score.std)) }
        @if score.images == sampling.images && found < asked { br; span.quiet { (found) " of " (asked) " sets" } }
    }
}

/// Every combination of set and reference size behind the table, each once.
fn all_counts(context: &ReportContext) -> String {
    let mut all: Vec<String> = Vec::new();
    for counts in context
        .measures()
        .iter()
        .map(|measure| context.counts_of(&measure.key))
    {
        for one in counts.split("; ").filter(|one| !one.is_empty()) {
            if !all.iter().any(|known| known == one) {
                all.push(one.to_owned());
            }
        }
    }
    if all.is_empty() {
        "no samples yet".to_owned()
    } else {
        all.join("; ")
    }
}

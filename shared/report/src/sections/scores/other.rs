//! Every score that is not primary: against C, and against the primary one.

use super::{against_clusters, against_score, finished_cells};
use crate::{
    context::ReportContext,
    measure::Measure,
    section::{Section, absent, legend, small_figure},
};
use cedm_sweep::outcome::CellOutcome;
use maud::html;

/// Small charts of the other scores; nothing where only primary ones were asked for.
pub fn section(context: &ReportContext) -> Option<Section> {
    let primary = context.primary()?;
    let cells = &context.outcome.cells;
    let scored = |measure: &&Measure| {
        cells
            .iter()
            .any(|cell| context.score(cell, &measure.key).is_some())
    };
    let shown: Vec<_> = others(context)
        .filter(scored)
        .map(|other| (other, against_clusters::chart(context, other)))
        .collect();
    let missing = missing_scores(context);
    if shown.is_empty() && missing.is_empty() {
        return None;
    }
    let body = html! {
        @if let Some((_, first)) = shown.first() {
            (legend(first))
            h3 { "Against C" }
            div.grid { @for (other, chart) in &shown { (small_figure(chart, &format!(
                "{}: {}. Compared with {}; {}.", other.title, other.metric.direction.words(),
                other.metric.against.words(), context.counts_of(&other.key)))) } }
        }
        @for (what, reason) in &missing { (absent(what, reason)) }
        @if !shown.is_empty() {
            h3 { "Against " (primary.title) }
            p { "One mark per network at the end of its training: where the two scores disagree, \
                the marks do not lie on a line." }
            div.grid { @for (other, _) in &shown { (small_figure(
                &against_score(context, primary, other),
                &format!("{} against {}", other.title, primary.title))) } }
        }
    };
    Some(Section {
        id: "secondary",
        title: "Other scores",
        body,
    })
}

fn others<'b>(context: &'b ReportContext) -> impl Iterator<Item = &'b Measure> {
    let measures = context.measures().iter();
    measures.filter(|measure| !measure.is_primary)
}

/// Other scores that some networks lack, with the reason; scores that the same networks lack for
/// the same reason share a line.
fn missing_scores(context: &ReportContext) -> Vec<(String, String)> {
    let mut lines: Vec<(Vec<&str>, String, String)> = Vec::new();
    for measure in others(context) {
        let lacks = |cell: &&CellOutcome| {
            context.not_applicable(cell, measure).is_none()
                && context.score(cell, &measure.key).is_none()
        };
        let without: Vec<&CellOutcome> = finished_cells(context).filter(lacks).collect();
        let Some(first) = without.first() else {
            continue;
        };
        let names: Vec<&str> = without.iter().map(|cell| cell.label.as_str()).collect();
        let (names, reason) = (names.join(", "), context.why_missing(first, &measure.key));
        let same = lines
            .iter_mut()
            .find(|line| line.1 == names && line.2 == reason);
        match same {
            Some(line) => line.0.push(&measure.title),
            None => lines.push((vec![&measure.title], names, reason)),
        }
    }
    let text = |(titles, names, reason): (Vec<&str>, String, String)| {
        (format!("{} of {names}", titles.join(", ")), reason)
    };
    lines.into_iter().map(text).collect()
}

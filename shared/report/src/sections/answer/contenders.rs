//! The granularities that compete: which of them may be the best, and how likely.

use crate::{context::ReportContext, format};
use cedm_sweep::outcome::{Answer, Edge, Granularity};
use maud::{Markup, html};

/// One row per granularity, the best mean first.
pub fn markup(context: &ReportContext, answer: &Answer) -> Markup {
    if answer.granularities.len() < 2 {
        return html! {};
    }
    let known = answer.certainty.degrees > 0;
    html! {
        div {
            h3 { "Which C may be the best" }
            table.plain {
                @for one in &answer.granularities { (row(one, known)) }
            }
            p.note { (note(context, answer)) }
        }
    }
}

fn row(one: &Granularity, known: bool) -> Markup {
    html! {
        tr {
            td { @if one.may_be_best { strong { (one.label) } } @else { (one.label) } }
            td.number { (format::number(one.mean)) }
            td.number.quiet { (format::counted(one.trainings.into(), "training")) }
            @if known {
                td.number { @if let Some(probability) = one.probability { (format!("{:.0} %", 100.0 * probability)) } }
                td.quiet { @if let Some((from, to)) = one.behind { (format::signed(from)) " to " (format::signed(to)) " behind" } }
            }
            td { @if one.may_be_best { "may be the best" } @else { "is not the best" } }
            td.quiet { (edge(one.edge)) }
        }
    }
}

fn edge(edge: Option<Edge>) -> &'static str {
    match edge {
        Some(Edge::Smallest) => "smallest trained",
        Some(Edge::Largest) => "largest trained",
        Some(Edge::Only) => "the only C tried",
        None => "",
    }
}

fn note(context: &ReportContext, answer: &Answer) -> String {
    let certainty = &answer.certainty;
    let mut said: Vec<String> = Vec::new();
    if certainty.degrees > 0 {
        said.push(format!(
            "With {:.0} % confidence the best is among those in bold, and every “behind” (from the \
             best of the others, negative is ahead) holds at once: multiple comparisons with the \
             best over {} of each, {} degrees of freedom. Probability of being the best: scores of \
             trainings normal with one spread, all means as likely beforehand.",
            100.0 * certainty.confidence,
            format::counted(certainty.trainings.into(), "training"),
            certainty.degrees
        ));
    }
    let spread =
        |what: &str, std: Option<f64>| std.map(|std| format!("{what} {}", format::number(std)));
    let spreads: Vec<String> = [
        spread("between trainings", certainty.training_std),
        spread(
            "between sample sets of one training",
            certainty.sampling_std,
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !spreads.is_empty() {
        let title = context.title_of(&answer.metric);
        said.push(format!(
            "Standard deviation of {title}: {}.",
            spreads.join(", ")
        ));
    }
    for unknown in &certainty.unknown {
        let mut letters = unknown.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string());
        said.push(format!(
            "{}{}.",
            first.unwrap_or_default(),
            letters.as_str()
        ));
    }
    said.join(" ")
}

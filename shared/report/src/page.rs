//! The page around its parts: head, answer, navigation, style, and the few lines of script that
//! copy tables.

use crate::{context::ReportContext, format, section::Section};
use cedm_sweep::outcome::{SweepOutcome, SweepState};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
/// The browser may fetch nothing, whatever the names in a sweep contain.
const POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// The HTML document, complete with style and script.
pub fn document(context: &ReportContext, sections: &[Section]) -> String {
    let outcome = context.outcome;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                link rel="icon" href="data:,";
                title { (outcome.sweep) " · C-EDM sweep" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.eyebrow { "C-EDM sweep" (state(outcome.state)) button.theme type="button" data-theme-switch title="light or dark" { "◐" } }
                    h1 { (outcome.sweep) }
                    p.headline { (headline(outcome)) }
                    (overview(context))
                    nav aria-label="parts of this report" { @for section in sections { a href=(format!("#{}", section.id)) { (section.title) } } }
                }
                main { @for section in sections {
                    section id=(section.id) { h2 { (section.title) } (section.body) }
                } }
                footer { p { "Everything on this page is in " code { "report.json" } " beside it; \
                    tables are also CSV files. This file needs nothing else and asks for \
                    nothing." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

fn state(state: SweepState) -> Markup {
    let (class, word) = match state {
        SweepState::Complete => ("good", "complete"),
        SweepState::Running => ("busy", "still running"),
        SweepState::Incomplete => ("bad", "incomplete"),
    };
    html! { span class=(format!("state {class}")) { (word) } }
}

/// The answer, or that there is none, before anything else.
fn headline(outcome: &SweepOutcome) -> &str {
    let answer = outcome.answer.as_ref();
    answer.map_or(
        "No answer yet: no network has the primary score.",
        |answer| &answer.headline,
    )
}

/// Images, features, networks and samples of the sweep in one line.
fn overview(context: &ReportContext) -> Markup {
    let outcome = context.outcome;
    let (training, sampling) = (&outcome.spec.training, &outcome.spec.sampling);
    html! {
        dl.overview {
            @if let Some(images) = &outcome.images {
                div { dt { "images" } dd { (images.name) ", " (format::count(images.set.count)) " of " (images.set.resolution) "×" (images.set.resolution)
                    @if images.set.channels == 1 { " grey" } @else { " RGB" }
                    @if images.set.classes > 0 { ", " (images.set.classes) " classes" } @else { ", no labels" } } }
            } @else { div { dt { "images" } dd { (outcome.spec.image_set) ", its manifest cannot be read" } } }
            div { dt { "clustered by features of" } dd { (outcome.spec.extractor.name) } }
            div { dt { "networks" } dd { (outcome.cells.len()) ", " (format::images(training.budget_nimg())) " training images each" } }
            div { dt { "evaluated on" } dd { (sampling.sets) " × " (format::count(sampling.images)) " samples each" } }
            div { dt { "submitted" } dd { (format::moment(outcome.submitted_ms)) } }
        }
    }
}

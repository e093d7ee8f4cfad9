//! The page around the parts: head, navigation, colours, and the few lines of script that copy
//! tables.

use crate::{facts::Facts, section::Section, words};
use cedm_sweep::outcome::SweepState;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
/// Nothing may be fetched, whatever a name in the sweep tries.
const POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// The whole document.
pub fn document(facts: &Facts, sections: &[Section]) -> String {
    let outcome = facts.outcome;
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
                    (subject(facts))
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

/// What the sweep is about, in a line of facts.
fn subject(facts: &Facts) -> Markup {
    let outcome = facts.outcome;
    let (training, sampling) = (&outcome.spec.training, &outcome.spec.sampling);
    html! {
        dl.facts {
            @if let Some(images) = &outcome.images {
                div { dt { "images" } dd { (images.name) ", " (words::count(images.set.count)) " of " (images.set.resolution) "×" (images.set.resolution)
                    @if images.set.channels == 1 { " grey" } @else { " RGB" }
                    @if images.set.classes > 0 { ", " (images.set.classes) " classes" } @else { ", no labels" } } }
            } @else { div { dt { "images" } dd { (outcome.spec.image_set) ", its manifest cannot be read" } } }
            div { dt { "clustered by" } dd { (outcome.spec.extractor.name) } }
            div { dt { "networks" } dd { (outcome.cells.len()) ", " (words::images(training.budget_nimg())) " training images each" } }
            div { dt { "judged by" } dd { (sampling.sets) " × " (words::count(sampling.images)) " samples" } }
            div { dt { "submitted" } dd { (words::moment(outcome.submitted_ms)) } }
        }
    }
}

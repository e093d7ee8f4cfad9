//! The answer: the best granularity, how sure that is, and what it is better than.

mod agreement;
mod contenders;
mod efficiency;
mod uniform;

use super::clusterings::bound_search;
use crate::{context::ReportContext, format, section::Section};
use cedm_sweep::{
    PAPER_SET_IMAGES,
    outcome::{Answer, RunnerUp},
};
use maud::{Markup, html};

/// The first part of the page.
pub fn section(context: &ReportContext) -> Section {
    let body = match &context.outcome.answer {
        Some(answer) => answered(context, answer),
        None => html! {
            p { "No network has the primary score yet. See " a href="#missing" { "what is missing" } "." }
        },
    };
    Section {
        id: "answer",
        title: "Answer",
        body,
    }
}

fn answered(context: &ReportContext, answer: &Answer) -> Markup {
    let title = context.title_of(&answer.metric);
    html! {
        div.cards {
            div.card.best {
                h3 { "Best granularity" }
                p.big { "C = " (format::count(answer.clusters.into())) }
                p { (answer.clustering) }
                @if let Some(runner_up) = &answer.runner_up { (second(runner_up)) }
                @if answer.uncertain { p.warn { (ties(answer)) } }
                @for unknown in &answer.certainty.unknown { p.warn { "Not known: " (unknown) "." } }
            }
            div.card {
                h3 { (title) }
                p.big { (format::spread(answer.score.mean, answer.score.std)) }
                p { (context.sample_counts(&answer.score)) }
                @if answer.score.images != PAPER_SET_IMAGES {
                    p.note { "Not comparable with numbers from " (format::count(PAPER_SET_IMAGES)) " images: the bias of a Fréchet distance falls as images are added." }
                }
            }
            @if let Some(c_max) = answer.c_max {
                div.card {
                    h3 { "Upper bound" }
                    p.big { "C" sub { "max" } " = " (format::count(c_max.into())) }
                    p { @match answer.within_bound {
                        Some(true) => "The best C lies within the bound.",
                        Some(false) => "The best C lies above the bound.",
                        None => "No bound to compare with.",
                    } }
                    @if let Some(close) = closeness(context, answer) { p.quiet { (close) } }
                }
            }
        }
        div.columns {
            (contenders::markup(context, answer))
            (comparisons(answer, title))
            (efficiency::markup(context, answer))
            (agreement::markup(context, answer))
        }
        (uniform::markup(context, answer))
    }
}

/// How closely the bound is known.
fn closeness(context: &ReportContext, answer: &Answer) -> Option<String> {
    let mut bounds = context.outcome.bounds.iter();
    let found = bounds.find(|bound| bound.c_max == answer.c_max)?;
    bound_search::closeness(found.result.as_ref()?)
}

/// Which others may be the best.
fn ties(answer: &Answer) -> String {
    let names = answer.ties.join(", ");
    format!("As far as is known, the best may also be {names}.")
}

/// How far behind the second-best is, with the standard error over trainings where it is known.
fn second(second: &RunnerUp) -> Markup {
    html! {
        p { "Second: " (second.cell) " with " (format::number(second.score)) ", " (format::number(second.difference.abs()))
            @if let Some(error) = second.standard_error { " ± " (format::number(error)) } " behind"
            @if second.standard_error.is_some() { " (standard error over trainings)" } "." }
    }
}

fn comparisons(answer: &Answer, title: &str) -> Markup {
    html! {
        @if !answer.comparisons.is_empty() {
            div {
                h3 { "Against the others, " (title) }
                table.plain {
                    @for other in &answer.comparisons {
                        tr {
                            td { (other.with) }
                            td.number { (format::number(other.other)) }
                            td.number class=(if other.better { "better" } else { "worse" }) { (format::percent(other.relative)) }
                            td { @if other.better { "better" } @else { "not better" } }
                            td.quiet { @if let Some((from, to)) = other.ahead { (format::signed(from)) " to " (format::signed(to)) " ahead" } }
                            td.quiet { (other.sets) " × " (format::count(other.images)) }
                        }
                    }
                }
                p.note { "The best network's score relative to each; sets × images behind each score."
                    @if answer.comparisons.iter().any(|one| one.ahead.is_some()) { " How far it is ahead: intervals that hold at once, by the spread between trainings (Tukey and Kramer); around zero the order may be chance." } }
            }
        }
    }
}

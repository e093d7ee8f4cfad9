//! The answer: the best granularity, how sure that is, and what it is better than.

use crate::{facts::Facts, section::Section, words};
use cedm_contract::{outcome::Answer, sweep::PAPER_SET_IMAGES};
use maud::{Markup, html};

/// The first part of the page.
pub fn section(facts: &Facts) -> Section {
    let body = match &facts.outcome.answer {
        Some(answer) => answered(facts, answer),
        None => html! {
            p.headline { "No answer yet." }
            p { "No network has the score that decides. See " a href="#missing" { "what is missing" } "." }
        },
    };
    Section {
        id: "answer",
        title: "Answer",
        body,
    }
}

fn answered(facts: &Facts, answer: &Answer) -> Markup {
    let title = facts.deciding().map_or_else(|| answer.metric.clone(), |measure| measure.title);
    html! {
        p.headline { (answer.headline) }
        div.cards {
            div.card.best {
                h3 { "Best granularity" }
                p.big { "C = " (words::count(answer.clusters.into())) }
                p { (answer.clustering) }
                @if answer.uncertain { p.warn { "The order is not certain: " (ties(answer)) } }
            }
            div.card {
                h3 { (title) }
                p.big { (words::spread(answer.score.mean, answer.score.std)) }
                p { (facts.sample_counts(&answer.score)) }
                @if answer.score.images != PAPER_SET_IMAGES {
                    p.note { "Not comparable with numbers from " (words::count(PAPER_SET_IMAGES)) " images: the bias of a Fréchet distance falls as images are added." }
                }
            }
            @if let Some(c_max) = answer.c_max {
                div.card {
                    h3 { "Upper bound" }
                    p.big { "C" sub { "max" } " = " (words::count(c_max.into())) }
                    p { @match answer.within_bound {
                        Some(true) => "The best C lies within the bound.",
                        Some(false) => "The best C lies above the bound.",
                        None => "No bound to compare with.",
                    } }
                }
            }
        }
        div.columns {
            (comparisons(answer, &title))
            (efficiency(answer))
        }
    }
}

fn ties(answer: &Answer) -> String {
    if answer.ties.is_empty() {
        "the sets differ by more than the networks do.".to_owned()
    } else {
        format!("within one standard deviation lie {}.", answer.ties.join(", "))
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
                            td.number { (words::number(other.other)) }
                            td.number class=(if other.better { "better" } else { "worse" }) { (words::percent(other.relative)) }
                            td { @if other.better { "better" } @else { "not better" } }
                        }
                    }
                }
            }
        }
    }
}

fn efficiency(answer: &Answer) -> Markup {
    html! {
        @if !answer.efficiency.is_empty() {
            div {
                h3 { "Training images to beat the unconditional best" }
                table.plain {
                    @for one in &answer.efficiency {
                        tr {
                            td { (one.cell) }
                            @match one.nimg {
                                Some(nimg) => {
                                    td.number { (words::images(nimg)) }
                                    td.number { @if let Some(ratio) = one.ratio { (format!("{ratio:.1}× fewer")) } }
                                }
                                None => td colspan="2" { "never, within this budget" }
                            }
                        }
                    }
                }
            }
        }
    }
}

//! The answer: the best granularity, how sure that is, and what it is better than.

use crate::{
    facts::Facts,
    section::{Section, Table, absent},
    words,
};
use cedm_sweep::{
    PAPER_SET_IMAGES,
    outcome::{Answer, RunnerUp, UniformEffect},
};
use maud::{Markup, html};
use std::collections::BTreeSet;

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
    let title = facts
        .deciding()
        .map_or_else(|| answer.metric.clone(), |measure| measure.title);
    html! {
        p.headline { (answer.headline) }
        div.cards {
            div.card.best {
                h3 { "Best granularity" }
                p.big { "C = " (words::count(answer.clusters.into())) }
                p { (answer.clustering) }
                @if let Some(runner_up) = &answer.runner_up { (second(runner_up)) }
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
            (efficiency(facts, answer))
            (agreement(facts, answer))
        }
        (uniform(facts, answer))
    }
}

fn ties(answer: &Answer) -> String {
    if answer.ties.is_empty() {
        "the sets differ by more than the networks do.".to_owned()
    } else {
        format!(
            "within one standard deviation lie {}.",
            answer.ties.join(", ")
        )
    }
}

/// How far behind the second-best is, in standard errors of paired sets.
fn second(second: &RunnerUp) -> Markup {
    let error = second.standard_error.filter(|error| *error > 0.0);
    html! {
        p { "Next: " (second.cell) " with " (words::number(second.score)) ", " (words::number(second.difference.abs()))
            @if let Some(error) = error { " ± " (words::number(error)) } " behind"
            @if let Some(error) = error { " (" (format!("{:.1}", second.difference.abs() / error)) " standard errors over sets with the same seeds)" } "." }
        p.note { "The spread is that of sampling: every network was trained once, so that what \
            another training would change is not in it." }
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
                            td.quiet { (other.sets) " × " (words::count(other.images)) }
                        }
                    }
                }
                p.note { "Change of the best one's score relative to theirs; sets × images behind each." }
            }
        }
    }
}

fn efficiency(facts: &Facts, answer: &Answer) -> Markup {
    let Some(first) = answer.efficiency.first() else {
        return html! { @if let Some(reason) = no_efficiency(facts) { div { h3 { "Sample \
        efficiency" } (absent("sample efficiency", reason)) } } };
    };
    html! {
        div {
            h3 { "Training images to beat the unconditional best" }
            table.plain {
                @for one in &answer.efficiency {
                    tr {
                        td { (one.cell) }
                        @match one.nimg {
                            Some(nimg) => {
                                td.number { (words::images(nimg)) }
                                td.number { @if let Some(ratio) = one.ratio { (times(ratio)) } }
                                td.quiet { @if let Some(at) = one.crossing_nimg { "crosses near " (words::images(at as u64)) } @else { "at its first snapshot" } }
                            }
                            None => td colspan="3" { "never, within this budget" }
                        }
                    }
                }
            }
            p.note { "First snapshot that beats the unconditional network's best, reached after " (words::images(first.unconditional_nimg)) "; all judged by "
                (words::count(first.images)) " images. Between snapshots: a straight line." }
        }
    }
}

/// "4.0× fewer": the unconditional network's images over this one's.
fn times(ratio: f64) -> String {
    if (ratio - 1.0).abs() < 0.005 {
        "equally many".to_owned()
    } else if ratio > 1.0 {
        format!("{ratio:.1}× fewer")
    } else {
        format!("{:.1}× more", 1.0 / ratio)
    }
}

fn no_efficiency(facts: &Facts) -> Option<&'static str> {
    if facts.unconditional().is_none() {
        Some("the sweep has no unconditional network to beat")
    } else if facts.outcome.spec.training.snapshots_nimg.len() < 2 {
        Some("one snapshot makes no curve: set `snapshots` in [training]")
    } else if facts.outcome.spec.sampling.snapshot_images == 0 {
        Some("snapshots before the last were not sampled: set `snapshot_images` in [sampling]")
    } else {
        None
    }
}

/// FID against FDD: whether the deciding metrics of other feature spaces name the same C.
fn agreement(facts: &Facts, answer: &Answer) -> Markup {
    html! {
        @if !answer.agreement.is_empty() {
            div {
                h3 { "What other feature spaces say" }
                table.plain {
                    @for one in &answer.agreement {
                        tr {
                            td { (facts.title_of(&one.metric)) }
                            td class=(if one.same { "better" } else { "worse" }) { @if one.same { "agrees: " } @else { "disagrees: " } (one.best) }
                            td { @match one.within_bound { Some(true) => "within C_max", Some(false) => "above C_max", None => "" } }
                            td.quiet { @match one.tau {
                                Some(tau) => { "Kendall τ " (words::number(tau)) " over " (words::counted(one.networks.into(), "network")) }
                                None => { "too few networks to compare orders" }
                            } }
                        }
                    }
                }
                p.note { "τ compares the order of all networks: 1 the same, −1 opposite." }
            }
        }
    }
}

/// One row per network, one column per feature space.
fn uniform(facts: &Facts, answer: &Answer) -> Markup {
    let mut metrics: Vec<&str> = answer
        .uniform
        .iter()
        .map(|one| one.metric.as_str())
        .collect();
    metrics.sort_unstable();
    metrics.dedup();
    let mut cells: Vec<&str> = answer.uniform.iter().map(|one| one.cell.as_str()).collect();
    let mut seen = BTreeSet::new();
    cells.retain(|cell| seen.insert(*cell));
    let find = |cell: &str, metric: &str| {
        answer
            .uniform
            .iter()
            .find(|one| one.cell == cell && one.metric == metric)
    };
    let worse = |one: &UniformEffect| {
        let measures = facts.measures();
        let direction = measures
            .iter()
            .find(|measure| measure.key == one.metric)?
            .metric
            .direction;
        Some(direction.badness(one.uniform)? > direction.badness(one.prior)?)
    };
    let cell = |one: Option<&UniformEffect>| -> Vec<Markup> {
        let Some(one) = one else {
            return vec![
                words::missing("one of the two kinds of sets has no score"),
                html! {},
            ];
        };
        let class = match worse(one) {
            Some(true) => "worse",
            Some(false) => "better",
            None => "",
        };
        vec![
            html! { (words::number(one.prior)) " → " (words::number(one.uniform)) },
            html! { span class=(class) title=(format!("{} × {} images", one.sets, words::count(one.images))) { (words::signed(one.increase)) } },
        ]
    };
    let row = |name: &&str| -> Vec<Markup> {
        std::iter::once(html! { (name) })
            .chain(metrics.iter().flat_map(|metric| cell(find(name, metric))))
            .collect()
    };
    let heads = std::iter::once("network".to_owned()).chain(metrics.iter().flat_map(|metric| {
        [
            format!("#{}: p(c) → uniform", facts.title_of(metric)),
            "#change".to_owned(),
        ]
    }));
    let table = Table {
        name: "uniform-table",
        heads: heads.collect(),
        rows: cells.iter().map(row).collect(),
    };
    html! {
        @if let Some(first) = answer.uniform.first() {
            h3 { "Uniform labels instead of p(c)" }
            (table.markup())
            p.note { "The same seeds sampled twice, " (first.sets) " × " (words::count(first.images)) " images each way: labels from p(c), then every label equally often." }
        }
    }
}

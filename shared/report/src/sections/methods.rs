//! Ways of grouping compared at equal numbers of clusters.

use crate::{
    chart::{Axis, Chart, Level, Point, Series},
    facts::{Facts, Measure},
    section::{Section, Table, figure, optional},
    words,
};
use cedm_sweep::outcome::CellOutcome;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// Marks of one C stand side by side, one place for each clustering.
fn side_by_side(facts: &Facts, measure: &Measure, names: &[&str], shared: &[u32]) -> Chart {
    let cells = || facts.outcome.cells.iter();
    let series = names.iter().enumerate().map(|(place, name)| {
        // Places of one C fill the middle 60 % of its column.
        let offset = (place as f64 + 0.5) / names.len() as f64 * 0.6 - 0.3;
        let at = |(column, clusters): (usize, &u32)| {
            let cell = cells()
                .find(|cell| cell.clustering == *name && cell.clusters == Some(*clusters))?;
            let score = facts.score(cell, &measure.key)?;
            Some(Point {
                x: column as f64 + offset,
                y: score.mean,
                error: score.std,
                tip: format!(
                    "{}: {} {}, {}",
                    cell.label,
                    measure.title,
                    words::spread(score.mean, score.std),
                    facts.sample_counts(score)
                ),
            })
        };
        Series {
            name: (*name).to_owned(),
            style: facts.style(name),
            joined: false,
            marked: true,
            points: shared.iter().enumerate().filter_map(at).collect(),
        }
    });
    let columns = shared
        .iter()
        .map(|c| format!("C = {}", words::count((*c).into())))
        .collect();
    let level = facts.unconditional().and_then(|cell| {
        Some(Level {
            name: cell.label.clone(),
            style: Some(facts.style(&cell.clustering)),
            y: facts.score(cell, &measure.key)?.mean,
        })
    });
    Chart {
        x: Axis::columns("number of clusters", columns),
        y: Axis::linear(measure.axis_label()),
        right: None,
        series: series.filter(|series| !series.points.is_empty()).collect(),
        levels: level.into_iter().collect(),
        uprights: Vec::new(),
    }
}

/// One row per C that more than one clustering has; the unconditional network for comparison.
pub fn section(facts: &Facts) -> Option<Section> {
    let measure = facts.deciding()?;
    let cells = || {
        facts
            .outcome
            .cells
            .iter()
            .filter(|cell| cell.clusters.is_some())
    };
    let mut names: Vec<&str> = Vec::new();
    for cell in cells() {
        if !names.contains(&cell.clustering.as_str()) {
            names.push(&cell.clustering);
        }
    }
    let of = |name: &str, clusters: u32| {
        cells().find(|cell| cell.clustering == name && cell.clusters == Some(clusters))
    };
    let all: BTreeSet<u32> = cells().filter_map(|cell| cell.clusters).collect();
    let shared: Vec<u32> = all
        .into_iter()
        .filter(|c| names.iter().filter(|name| of(name, *c).is_some()).count() > 1)
        .collect();
    if shared.is_empty() {
        return None;
    }
    let badness = |cell: &CellOutcome| {
        facts
            .score(cell, &measure.key)
            .and_then(|score| measure.metric.direction.badness(score.mean))
    };
    let row = |clusters: &u32| {
        let found: Vec<Option<&CellOutcome>> =
            names.iter().map(|name| of(name, *clusters)).collect();
        let best = found
            .iter()
            .flatten()
            .filter_map(|cell| badness(cell))
            .min_by(f64::total_cmp);
        let cell = |cell: &Option<&CellOutcome>| -> Markup {
            let Some(cell) = cell else {
                return html! { span.quiet { "not asked for" } };
            };
            let Some(score) = facts.score(cell, &measure.key) else {
                return optional(None, &facts.why_missing(cell, &measure.key));
            };
            let text = words::spread(score.mean, score.std);
            html! { @if badness(cell) == best { strong { (text) } } @else { (text) } }
        };
        std::iter::once(html! { (words::count(u64::from(*clusters))) })
            .chain(found.iter().map(cell))
            .collect()
    };
    let heads = std::iter::once("#C".to_owned())
        .chain(names.iter().map(|name| format!("#{name}")))
        .collect();
    let table = Table {
        name: "methods-table",
        heads,
        rows: shared.iter().map(row).collect(),
    };
    let body = html! {
        (figure(&side_by_side(facts, &measure, &names, &shared), &format!(
            "{} of networks with equally many condition slots, side by side. Bars: standard \
             deviation over the sample sets, {}.",
            measure.title, facts.counts_of(&measure.key))))
        p { (measure.head()) " of networks with the same number of condition slots; the best of \
            each row is bold."
            @if let Some(cell) = facts.unconditional() { @if let Some(score) = facts.score(cell, &measure.key) {
                " Without any condition: " (words::spread(score.mean, score.std)) "."
            } }
        }
        (table.markup())
    };
    Some(Section {
        id: "methods",
        title: "Methods at equal C",
        body,
    })
}

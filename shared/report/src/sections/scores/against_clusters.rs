//! Score against C, with the share of clusters in use over it.

use super::{by_clustering, end_point, finished_cells};
use crate::{
    chart::{Axis, Chart, Level, Line, Point, Series, Span},
    context::ReportContext,
    format,
    measure::Measure,
    section::{Section, absent, figure},
};
use maud::html;
use std::collections::BTreeMap;

/// The primary score of every feature space against C.
pub fn section(context: &ReportContext) -> Option<Section> {
    context.granularities().next()?;
    let body = html! {
        @for measure in context.primaries() {
            (figure(&with_utilisation(context, measure), &format!(
                "{} at the end of training against the number of clusters, and the share of \
                 clusters in use (r_C) on the right axis. Marks at one C stand side by side. \
                 Bars: standard deviation over {}, {}.{}",
                measure.title, context.spread_is_over(), context.counts_of(&measure.key),
                may_be_best(context, measure))))
            @for cell in finished_cells(context).filter(|cell| context.score(cell, &measure.key).is_none()) {
                (absent(&format!("{} of {}", measure.title, cell.label), &context.why_missing(cell, &measure.key)))
            }
        }
    };
    Some(Section {
        id: "clusters",
        title: "Score against C",
        body,
    })
}

/// What is shaded.
fn may_be_best(context: &ReportContext, measure: &Measure) -> String {
    let spans = spans(context, measure);
    if spans.is_empty() {
        return String::new();
    }
    let names: Vec<String> = spans.iter().map(|span| span.name.clone()).collect();
    format!(" Shaded: where the best C may lie, {}.", names.join("; "))
}

/// From the smallest to the largest C that may be best, for every clustering that has one.
fn spans(context: &ReportContext, measure: &Measure) -> Vec<Span> {
    let answer = context.outcome.answer.as_ref();
    let answer = answer.filter(|answer| answer.metric == measure.key);
    let mut spans: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let all = answer.into_iter().flat_map(|answer| &answer.granularities);
    for one in all.filter(|one| one.may_be_best) {
        let (from, to) = spans
            .entry(&one.clustering)
            .or_insert((one.clusters, one.clusters));
        (*from, *to) = (one.clusters.min(*from), one.clusters.max(*to));
    }
    let span = |(name, (from, to)): (&str, (u32, u32))| Span {
        from: f64::from(from),
        to: f64::from(to),
        style: context.style(name),
        name: if from == to {
            format!("{name} C = {from}")
        } else {
            format!("{name} C = {from} to {to}")
        },
    };
    spans.into_iter().map(span).collect()
}

/// A score at the end of training against C; the unconditional network's as a horizontal line.
pub fn chart(context: &ReportContext, measure: &Measure) -> Chart {
    let series = by_clustering(
        context,
        context.granularities(),
        Line::JoinedMarks,
        |cell| {
            let score = context.score(cell, &measure.key)?;
            let clusters = f64::from(cell.clusters?);
            Some(end_point(context, cell, measure, score, clusters))
        },
    );
    let level = context.unconditional().and_then(|cell| {
        let score = context.score(cell, &measure.key)?;
        Some(Level {
            name: format!("{} {}", cell.label, format::number(score.mean)),
            style: Some(context.style(&cell.clustering)),
            y: score.mean,
        })
    });
    Chart {
        levels: level.into_iter().collect(),
        side_by_side: true,
        ..Chart::new(Axis::clusters(), measure.axis(), series)
    }
}

/// The same with the utilisation on the right axis, and every C_max as a vertical line.
fn with_utilisation(context: &ReportContext, measure: &Measure) -> Chart {
    let chart = chart(context, measure);
    let several = context.outcome.bounds.len() > 1;
    let bounds = context.outcome.bounds.iter().filter_map(|bound| {
        let c_max = bound.c_max?;
        let of = if several {
            format!(" {}", bound.clustering)
        } else {
            String::new()
        };
        Some((f64::from(c_max), format!("C_max{of} {c_max}")))
    });
    Chart {
        right: Some((
            Axis::fraction("r_C, share of clusters in use"),
            utilisation(context, &chart.series),
        )),
        verticals: bounds.collect(),
        spans: spans(context, measure),
        ..chart
    }
}

/// Mean utilisation by C of the clusterings behind these series, and of the probes between their
/// granularities.
fn utilisation(context: &ReportContext, scored: &[Series]) -> Vec<Series> {
    let asked = || context.granularities().filter_map(|cell| cell.clusters);
    let (lowest, highest) = (asked().min().unwrap_or(0), asked().max().unwrap_or(0));
    let mut all: BTreeMap<&str, BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for clustering in &context.outcome.clusterings {
        let shown = scored.iter().any(|series| series.name == clustering.name)
            && (lowest..=highest).contains(&clustering.clusters)
            && !clustering.lower_bound;
        if shown {
            let of_name = all.entry(&clustering.name).or_default();
            let values = of_name.entry(clustering.clusters).or_default();
            values.push(clustering.result.utilisation);
        }
    }
    let point = |name: &str, clusters: u32, values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Point {
            x: f64::from(clusters),
            y: mean,
            error: None,
            tooltip: format!("{name} C={clusters}: r_C = {mean:.3}"),
        }
    };
    let series = |(name, by_clusters): (&str, BTreeMap<u32, Vec<f64>>)| Series {
        name: name.to_owned(),
        style: context.style(name),
        line: Line::JoinedMarks,
        points: by_clusters
            .iter()
            .map(|(clusters, values)| point(name, *clusters, values))
            .collect(),
    };
    all.into_iter().map(series).collect()
}

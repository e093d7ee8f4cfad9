//! Score against C, with the share of clusters in use over it.

use super::{by_clustering, end_point, finished_cells};
use crate::{
    chart::{Axis, Chart, Level, Line, Point, Series},
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
                 Bars: standard deviation over the sample sets, {}.",
                measure.title, context.counts_of(&measure.key))))
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

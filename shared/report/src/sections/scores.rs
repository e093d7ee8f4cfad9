//! Scores as curves: against granularity, against training images, against each other.

use crate::{
    chart::{Axis, Chart, Level, Point, Series},
    facts::{Facts, Measure, end},
    section::{Section, absent, figure, legend, small_figure},
    words,
};
use cedm_contract::outcome::{CellOutcome, Summary};
use maud::html;
use std::collections::BTreeMap;

/// Score against C with the utilisation curve over it, for the deciding score of every feature space.
pub fn by_clusters(facts: &Facts) -> Option<Section> {
    facts.outcome.cells.iter().find(|cell| cell.clusters.is_some())?;
    let body = html! {
        @for measure in facts.primaries() {
            (figure(&against_clusters(facts, &measure, true), &format!(
                "{} at the end of training against the number of clusters, with the share of clusters in use (r_C) over it. Bars: standard \
                 deviation over the sample sets.", measure.title)))
            @for cell in scored_cells(facts).filter(|cell| facts.score(cell, &measure.key).is_none()) {
                (absent(&format!("{} of {}", measure.title, cell.label), &facts.why_missing(cell, &measure.key)))
            }
        }
    };
    Some(Section {
        id: "clusters",
        title: "Score against C",
        body,
    })
}

/// Every other score against C, and against the score that decides.
pub fn secondary(facts: &Facts) -> Option<Section> {
    let deciding = facts.deciding()?;
    let others: Vec<Measure> = facts
        .measures()
        .into_iter()
        .filter(|measure| measure.key != deciding.key && facts.outcome.cells.iter().any(|cell| facts.score(cell, &measure.key).is_some()))
        .collect();
    if others.is_empty() {
        return None;
    }
    let charts: Vec<_> = others
        .iter()
        .map(|other| (against_clusters(facts, other, false), against_score(facts, &deciding, other), other))
        .collect();
    let body = html! {
        (legend(&charts[0].1))
        h3 { "Against C" }
        div.grid { @for (by_clusters, _, other) in &charts {
            (small_figure(by_clusters, &format!("{}: {}. Held against {}.", other.title, other.metric.direction.words(), other.metric.against.words())))
        } }
        h3 { "Against " (deciding.title) }
        p { "One mark per network at the end of its training: where the two scores disagree, the marks do not lie on a line." }
        div.grid { @for (_, by_score, other) in &charts { (small_figure(by_score, &format!("{} against {}", other.title, deciding.title))) } }
    };
    Some(Section {
        id: "secondary",
        title: "Other scores",
        body,
    })
}

/// Score against training images, one curve per network.
pub fn by_images(facts: &Facts) -> Option<Section> {
    let several = facts
        .outcome
        .cells
        .iter()
        .any(|cell| cell.snapshots.iter().filter(|snapshot| !snapshot.summary.is_empty()).count() > 1);
    if !several {
        return None;
    }
    let body = html! {
        @for measure in facts.primaries() {
            (figure(&along_training(facts, &measure), &format!(
                "{} of the snapshots along training. Snapshots before the last are judged by one set of {} images, the last by {} of {}: \
                 compare within a column of marks, and see the tooltips for counts.",
                measure.title,
                words::count(facts.outcome.spec.sampling.snapshot_images),
                words::counted(facts.outcome.spec.sampling.sets.into(), "set"),
                words::count(facts.outcome.spec.sampling.images),
            )))
        }
    };
    Some(Section {
        id: "training-images",
        title: "Score against training images",
        body,
    })
}

fn against_clusters(facts: &Facts, measure: &Measure, with_utilisation: bool) -> Chart {
    let mut series: BTreeMap<&str, Series> = BTreeMap::new();
    let mut order = Vec::new();
    for cell in facts.outcome.cells.iter().filter(|cell| cell.clusters.is_some()) {
        let name = cell.clustering.as_str();
        let entry = series.entry(name).or_insert_with(|| {
            order.push(name);
            Series {
                name: name.to_owned(),
                style: facts.style(name),
                joined: true,
                marked: true,
                points: Vec::new(),
            }
        });
        if let (Some(clusters), Some(summary)) = (cell.clusters, facts.score(cell, &measure.key)) {
            entry.points.push(point(facts, cell, f64::from(clusters), summary, measure));
        }
    }
    let level = facts.unconditional().and_then(|cell| {
        let summary = facts.score(cell, &measure.key)?;
        Some(Level {
            name: format!("{} {}", cell.label, words::number(summary.mean)),
            style: Some(facts.style(&cell.clustering)),
            y: summary.mean,
        })
    });
    let mut series: Vec<Series> = order.into_iter().filter_map(|name| series.remove(name)).collect();
    series.iter_mut().for_each(|one| one.points.sort_by(|a, b| a.x.total_cmp(&b.x)));
    let uprights = facts
        .outcome
        .bounds
        .iter()
        .filter_map(|bound| Some((f64::from(bound.c_max?), format!("C_max {}", bound.c_max?))))
        .collect();
    Chart {
        x: Axis::clusters(),
        y: Axis::linear(measure.axis_label()),
        right: with_utilisation.then(|| (Axis::fraction("r_C, share of clusters in use"), utilisation(facts, &series))),
        series,
        levels: level.into_iter().collect(),
        uprights: if with_utilisation { uprights } else { Vec::new() },
    }
}

/// Utilisation of the clusterings behind the networks, and of probes between them.
fn utilisation(facts: &Facts, scored: &[Series]) -> Vec<Series> {
    let asked = || facts.outcome.cells.iter().filter_map(|cell| cell.clusters).map(f64::from);
    let (low, high) = (asked().fold(f64::INFINITY, f64::min), asked().fold(0.0, f64::max));
    let trained: Vec<&str> = scored.iter().map(|series| series.name.as_str()).collect();
    let mut series: BTreeMap<&str, BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for clustering in facts
        .outcome
        .clusterings
        .iter()
        .filter(|c| !c.lower_bound && trained.contains(&c.name.as_str()))
    {
        if (low..=high).contains(&f64::from(clustering.clusters)) {
            series
                .entry(&clustering.name)
                .or_default()
                .entry(clustering.clusters)
                .or_default()
                .push(clustering.result.utilisation);
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let drawn = |(name, points): (&str, BTreeMap<u32, Vec<f64>>)| Series {
        name: name.to_owned(),
        style: facts.style(name),
        joined: true,
        marked: true,
        points: points
            .into_iter()
            .map(|(c, values)| Point {
                x: f64::from(c),
                y: mean(&values),
                error: None,
                tip: format!("{name} C={c}: r_C = {:.3}", mean(&values)),
            })
            .collect(),
    };
    series.into_iter().map(drawn).collect()
}

fn point(facts: &Facts, cell: &CellOutcome, x: f64, summary: &Summary, measure: &Measure) -> Point {
    let tip = format!(
        "{}: {} {}, {}",
        cell.label,
        measure.title,
        words::spread(summary.mean, summary.std),
        facts.sample_counts(summary)
    );
    Point {
        x,
        y: summary.mean,
        error: summary.std,
        tip,
    }
}

fn along_training(facts: &Facts, measure: &Measure) -> Chart {
    let series = facts.outcome.cells.iter().zip(facts.cell_styles()).map(|(cell, style)| {
        let scored = cell
            .snapshots
            .iter()
            .filter_map(|snapshot| Some((snapshot.nimg, snapshot.summary.get(&measure.key)?)));
        let tip = |nimg, summary: &Summary| {
            format!(
                "{} at {}: {}, {}",
                cell.label,
                words::images(nimg),
                words::spread(summary.mean, summary.std),
                facts.sample_counts(summary)
            )
        };
        let points = scored.map(|(nimg, summary)| Point {
            x: nimg as f64,
            y: summary.mean,
            error: summary.std,
            tip: tip(nimg, summary),
        });
        Series {
            name: cell.label.clone(),
            style,
            joined: true,
            marked: true,
            points: points.collect(),
        }
    });
    Chart {
        x: Axis {
            ticks_at_values: true,
            ..Axis::from_zero("training images")
        },
        y: Axis::linear(measure.axis_label()),
        right: None,
        series: series.filter(|series| !series.points.is_empty()).collect(),
        levels: Vec::new(),
        uprights: Vec::new(),
    }
}

fn against_score(facts: &Facts, deciding: &Measure, other: &Measure) -> Chart {
    let mut series: Vec<Series> = Vec::new();
    for cell in &facts.outcome.cells {
        let (Some(x), Some(y)) = (facts.score(cell, &deciding.key), facts.score(cell, &other.key)) else {
            continue;
        };
        let tip = format!(
            "{}: {} {}, {} {}",
            cell.label,
            deciding.title,
            words::number(x.mean),
            other.title,
            words::spread(y.mean, y.std)
        );
        let point = Point {
            x: x.mean,
            y: y.mean,
            error: y.std,
            tip,
        };
        match series.iter_mut().find(|series| series.name == cell.clustering) {
            Some(found) => found.points.push(point),
            None => series.push(Series {
                name: cell.clustering.clone(),
                style: facts.style(&cell.clustering),
                joined: false,
                marked: true,
                points: vec![point],
            }),
        }
    }
    let (x, y) = (Axis::linear(deciding.axis_label()), Axis::linear(other.axis_label()));
    Chart {
        x,
        y,
        right: None,
        series,
        levels: Vec::new(),
        uprights: Vec::new(),
    }
}

/// Networks with any score at their end, for tables.
pub fn scored_cells<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a CellOutcome> {
    facts.outcome.cells.iter().filter(|cell| end(cell).is_some())
}

//! Scores as curves: against granularity, against training images, against each other.

use crate::{
    chart::{Axis, Chart, Level, Point, Series},
    facts::{Facts, Measure, end, on_curve},
    section::{Section, absent, figure, legend, small_figure},
    words,
};
use cedm_sweep::outcome::{CellOutcome, SnapshotOutcome, Summary};
use maud::html;
use std::collections::BTreeMap;

/// Score against C with the utilisation curve over it, for the deciding score of every feature
/// space.
pub fn by_clusters(facts: &Facts) -> Option<Section> {
    facts
        .outcome
        .cells
        .iter()
        .find(|cell| cell.clusters.is_some())?;
    let body = html! {
        @for measure in facts.primaries() {
            (figure(&against_clusters(facts, &measure, true), &format!(
                "{} at the end of training against the number of clusters, with the share of \
                 clusters in use (r_C) over it. Bars: standard \
                 deviation over the sample sets, {}.", measure.title, facts.counts_of(&measure.key))))
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
    let primaries = facts.primaries();
    let charts: Vec<_> = facts
        .measures()
        .into_iter()
        .filter(|measure| primaries.iter().all(|primary| primary.key != measure.key))
        .filter(|measure| {
            facts
                .outcome
                .cells
                .iter()
                .any(|cell| facts.score(cell, &measure.key).is_some())
        })
        .map(|other| {
            (
                against_clusters(facts, &other, false),
                against_score(facts, &deciding, &other),
                other,
            )
        })
        .collect();
    let missing = missing_scores(facts);
    if charts.is_empty() && missing.is_empty() {
        return None;
    }
    let body = html! {
        @if let Some((_, first, _)) = charts.first() { (legend(first)) }
        h3 { "Against C" }
        div.grid { @for (by_clusters, _, other) in &charts {
            (small_figure(by_clusters, &format!("{}: {}. Held against {}; {}.",
                other.title, other.metric.direction.words(), other.metric.against.words(), facts.counts_of(&other.key))))
        } }
        @for (what, reason) in &missing { (absent(what, reason)) }
        @if !charts.is_empty() {
            h3 { "Against " (deciding.title) }
            p { "One mark per network at the end of its training: where the two scores disagree, \
                the marks do not lie on a line." }
        }
        div.grid { @for (_, by_score, other) in &charts { (small_figure(by_score, &format!("{} \
            against {}", other.title, deciding.title))) } }
    };
    Some(Section {
        id: "secondary",
        title: "Other scores",
        body,
    })
}

/// Secondary scores that some networks lack, with the reason; one line for each score.
fn missing_scores(facts: &Facts) -> Vec<(String, String)> {
    let (mut lost, primaries) = (Vec::new(), facts.primaries());
    let shown_above =
        |measure: &Measure| primaries.iter().any(|primary| primary.key == measure.key);
    for measure in facts
        .measures()
        .iter()
        .filter(|measure| !shown_above(measure))
    {
        let asked = |cell: &&CellOutcome| facts.not_asked(cell, measure).is_none();
        let without: Vec<&CellOutcome> = scored_cells(facts)
            .filter(asked)
            .filter(|cell| facts.score(cell, &measure.key).is_none())
            .collect();
        if let Some(first) = without.first() {
            let names: Vec<&str> = without.iter().map(|cell| cell.label.as_str()).collect();
            lost.push((
                format!("{} of {}", measure.title, names.join(", ")),
                facts.why_missing(first, &measure.key),
            ));
        }
    }
    lost
}

/// Score against training images, one curve per network.
pub fn by_images(facts: &Facts) -> Option<Section> {
    let several = facts.outcome.cells.iter().any(|cell| {
        cell.snapshots
            .iter()
            .filter(|snapshot| !snapshot.summary.is_empty())
            .count()
            > 1
    });
    if !several {
        return None;
    }
    let body = html! {
        @for measure in facts.primaries() {
            (figure(&along_training(facts, &measure), &caption(facts, &measure)))
        }
        @for cell in &facts.outcome.cells { @for snapshot in &cell.snapshots {
            @if let Some(measure) = facts.deciding() { @if on_curve(snapshot, &measure.key).is_none() {
                (absent(&format!("{} of {} at {}", measure.title, cell.label, words::images(snapshot.nimg)), &why_off_curve(facts, cell, snapshot, &measure.key)))
            } }
        } }
    };
    Some(Section {
        id: "training-images",
        title: "Score against training images",
        body,
    })
}

/// What the curves are drawn through.
fn caption(facts: &Facts, measure: &Measure) -> String {
    let sampling = &facts.outcome.spec.sampling;
    let fair = facts
        .outcome
        .cells
        .iter()
        .flat_map(|cell| &cell.snapshots)
        .all(|snapshot| !snapshot.last || !snapshot.on_equal_terms.is_empty());
    let counts = if fair {
        format!(
            "every mark is judged by {} images; the end of training, judged by {} of {}, stands \
             in the figure above",
            words::count(sampling.snapshot_images),
            words::counted(sampling.sets.into(), "set"),
            words::count(sampling.images)
        )
    } else {
        "marks of one column are judged by equally many images: see the tooltips".to_owned()
    };
    format!(
        "{} of the snapshots along training: {counts}. Dashed: the unconditional network's best.",
        measure.title
    )
}

fn why_off_curve(
    facts: &Facts,
    cell: &CellOutcome,
    snapshot: &SnapshotOutcome,
    key: &str,
) -> String {
    if snapshot.training.is_none() {
        return facts.why_missing(cell, key);
    }
    let (space, name) = key.split_once('/').unwrap_or((key, ""));
    let own = snapshot.sets.iter().chain(&snapshot.curve_set);
    let said = own
        .filter_map(|set| {
            set.scores
                .get(space)?
                .result
                .scores
                .get(name)?
                .missing
                .clone()
        })
        .next();
    said.unwrap_or_else(|| {
        if !snapshot.last && facts.outcome.spec.sampling.snapshot_images == 0 {
            "snapshots before the last were not sampled (`snapshot_images = 0`)".to_owned()
        } else {
            facts.why_missing(cell, key)
        }
    })
}

fn against_clusters(facts: &Facts, measure: &Measure, with_utilisation: bool) -> Chart {
    let mut series: BTreeMap<&str, Series> = BTreeMap::new();
    let mut order = Vec::new();
    for cell in facts
        .outcome
        .cells
        .iter()
        .filter(|cell| cell.clusters.is_some())
    {
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
            entry
                .points
                .push(point(facts, cell, f64::from(clusters), summary, measure));
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
    let mut series: Vec<Series> = order
        .into_iter()
        .filter_map(|name| series.remove(name))
        .collect();
    series
        .iter_mut()
        .for_each(|one| one.points.sort_by(|a, b| a.x.total_cmp(&b.x)));
    let uprights = facts
        .outcome
        .bounds
        .iter()
        .filter_map(|bound| Some((f64::from(bound.c_max?), format!("C_max {}", bound.c_max?))))
        .collect();
    Chart {
        x: Axis::clusters(),
        y: Axis::linear(measure.axis_label()),
        right: with_utilisation.then(|| {
            (
                Axis::fraction("r_C, share of clusters in use"),
                utilisation(facts, &series),
            )
        }),
        series,
        levels: level.into_iter().collect(),
        uprights: if with_utilisation {
            uprights
        } else {
            Vec::new()
        },
    }
}

/// Utilisation of the clusterings behind the networks, and of probes between them.
fn utilisation(facts: &Facts, scored: &[Series]) -> Vec<Series> {
    let asked = || {
        facts
            .outcome
            .cells
            .iter()
            .filter_map(|cell| cell.clusters)
            .map(f64::from)
    };
    let (low, high) = (
        asked().fold(f64::INFINITY, f64::min),
        asked().fold(0.0, f64::max),
    );
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
    let series = facts
        .outcome
        .cells
        .iter()
        .zip(facts.cell_styles())
        .map(|(cell, style)| {
            let scored = cell
                .snapshots
                .iter()
                .filter_map(|snapshot| Some((snapshot.nimg, on_curve(snapshot, &measure.key)?)));
            let tip = |nimg, summary: &Summary| {
                format!(
                    "{} at {}: {}, {}",
                    cell.label,
                    words::images(nimg),
                    words::spread(summary.mean, summary.std),
                    facts.single_counts(summary)
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
        levels: unconditional_best(facts, measure).into_iter().collect(),
        uprights: Vec::new(),
    }
}

/// The level that sample efficiency is measured by.
fn unconditional_best(facts: &Facts, measure: &Measure) -> Option<Level> {
    let cell = facts.unconditional()?;
    let badness = |value: f64| measure.metric.direction.badness(value);
    let scores = cell
        .snapshots
        .iter()
        .filter_map(|snapshot| on_curve(snapshot, &measure.key));
    let best = scores
        .filter(|score| badness(score.mean).is_some())
        .min_by(|a, b| {
            badness(a.mean)
                .unwrap_or(f64::INFINITY)
                .total_cmp(&badness(b.mean).unwrap_or(f64::INFINITY))
        })?;
    Some(Level {
        name: format!("best of {}", cell.label),
        style: Some(facts.style(&cell.clustering)),
        y: best.mean,
    })
}

/// One mark per network: a score against the deciding one.
pub fn against_score(facts: &Facts, deciding: &Measure, other: &Measure) -> Chart {
    let mut series: Vec<Series> = Vec::new();
    for cell in &facts.outcome.cells {
        let (Some(x), Some(y)) = (
            facts.score(cell, &deciding.key),
            facts.score(cell, &other.key),
        ) else {
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
        let name = if cell.clusters.is_some() {
            &cell.clustering
        } else {
            &cell.label
        };
        match series.iter_mut().find(|series| series.name == *name) {
            Some(found) => found.points.push(point),
            None => series.push(Series {
                name: name.clone(),
                style: facts.style(&cell.clustering),
                joined: false,
                marked: true,
                points: vec![point],
            }),
        }
    }
    let (x, y) = (
        Axis::linear(deciding.axis_label()),
        Axis::linear(other.axis_label()),
    );
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
    facts
        .outcome
        .cells
        .iter()
        .filter(|cell| end(cell).is_some())
}

//! Score against training images, one curve per network.

use crate::{
    chart::{Axis, Chart, Level, Line, Point, Series},
    context::{ReportContext, extra_set_counts, on_curve},
    format,
    measure::Measure,
    reasons,
    section::{Section, absent, figure},
};
use cedm_sweep::outcome::{CellOutcome, SnapshotOutcome, Summary};
use maud::html;

/// The primary score of every feature space along training, where several snapshots have one.
pub fn section(context: &ReportContext) -> Option<Section> {
    let scored = |cell: &CellOutcome| {
        let snapshots = cell.snapshots.iter();
        snapshots
            .filter(|snapshot| !snapshot.summary.is_empty())
            .count()
    };
    if context.outcome.cells.iter().all(|cell| scored(cell) < 2) {
        return None;
    }
    let body = html! {
        @for measure in context.primaries() {
            (figure(&chart(context, measure), &caption(context, measure)))
        }
        @if let Some(measure) = context.primary() {
            @for cell in &context.outcome.cells { @for snapshot in &cell.snapshots {
                @if on_curve(snapshot, &measure.key).is_none() {
                    (absent(&format!("{} of {} at {}", measure.title, cell.label, format::images(snapshot.nimg)), &why_missing(context, cell, snapshot, &measure.key)))
                }
            } }
        }
    };
    Some(Section {
        id: "training-images",
        title: "Score against training images",
        body,
    })
}

/// What the curves are drawn through.
fn caption(context: &ReportContext, measure: &Measure) -> String {
    let sampling = &context.outcome.spec.sampling;
    let snapshots = || {
        context
            .outcome
            .cells
            .iter()
            .flat_map(|cell| &cell.snapshots)
    };
    let equal_terms = snapshots().all(|one| !one.last || !one.on_equal_terms.is_empty());
    let counts = if equal_terms {
        format!(
            "every mark is the score of {} images; the score at the end of training, over {} of \
             {}, is in the figure above",
            format::count(sampling.snapshot_images),
            format::counted(sampling.sets.into(), "set"),
            format::count(sampling.images)
        )
    } else {
        "marks in one column are scores of equally many images: see the tooltips".to_owned()
    };
    format!(
        "{} of the snapshots along training: {counts}. Dashed: the unconditional network's best.",
        measure.title
    )
}

/// Why a snapshot has no mark.
fn why_missing(
    context: &ReportContext,
    cell: &CellOutcome,
    snapshot: &SnapshotOutcome,
    key: &str,
) -> String {
    let sets = snapshot.sets.iter().chain(&snapshot.curve_set);
    if let Some(reason) = reasons::evaluators_reason(sets, key) {
        return reason;
    }
    let sampled = context.outcome.spec.sampling.snapshot_images > 0;
    if snapshot.training.is_some() && !snapshot.last && !sampled {
        return "snapshots before the last were not sampled (`snapshot_images = 0`)".to_owned();
    }
    reasons::why_missing(context.outcome, cell, Some(snapshot), key)
}

fn chart(context: &ReportContext, measure: &Measure) -> Chart {
    let point = |cell: &CellOutcome, nimg: u64, score: &Summary| Point {
        x: nimg as f64,
        y: score.mean,
        error: score.std,
        tooltip: format!(
            "{} at {}: {}, {}",
            cell.label,
            format::images(nimg),
            format::spread(score.mean, score.std),
            extra_set_counts(score)
        ),
    };
    let cells = context.outcome.cells.iter().zip(context.cell_styles());
    let series = cells.map(|(cell, style)| {
        let scored = |snapshot: &SnapshotOutcome| {
            let score = on_curve(snapshot, &measure.key)?;
            Some(point(cell, snapshot.nimg, score))
        };
        Series {
            name: cell.label.clone(),
            style,
            line: Line::JoinedMarks,
            points: cell.snapshots.iter().filter_map(scored).collect(),
        }
    });
    let x = Axis::from_zero("training images").with_ticks_at_values();
    Chart {
        levels: unconditional_best(context, measure).into_iter().collect(),
        ..Chart::new(x, measure.axis(), series)
    }
}

/// The score that sample efficiency is measured by: the best of the unconditional network.
fn unconditional_best(context: &ReportContext, measure: &Measure) -> Option<Level> {
    let cell = context.unconditional()?;
    let scores = cell.snapshots.iter().filter_map(|snapshot| {
        let mean = on_curve(snapshot, &measure.key)?.mean;
        Some((measure.objective(mean)?, mean))
    });
    let (_, best) = scores.min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Level {
        name: format!("best of {}", cell.label),
        style: Some(context.style(&cell.clustering)),
        y: best,
    })
}

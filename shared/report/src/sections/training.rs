//! The training curves: loss over images shown, one line per network.

use crate::{
    chart::{Axis, Chart, Line, Point, Series},
    context::ReportContext,
    format,
    section::{Section, absent, figure, small_figure},
    training_curve::TrainingCurve,
};
use cedm_contract::kinds::train::curve;
use cedm_sweep::outcome::CellOutcome;
use maud::html;

/// Points per curve: more would be less than six pixels apart.
const MAX_POINTS: usize = 160;

/// A quantity along training: what the axis says, and its column in `curve.json`.
struct Quantity {
    title: &'static str,
    axis: &'static str,
    name: &'static str,
}
const LOSS: Quantity = Quantity {
    title: "Loss",
    axis: "weighted squared error per pixel (lower is better)",
    name: curve::LOSS,
};
const OTHERS: &[Quantity] = &[
    Quantity {
        title: "Gradient norm",
        axis: "norm of the gradient",
        name: curve::GRADIENT_NORM,
    },
    Quantity {
        title: "Learning rate",
        axis: "learning rate",
        name: curve::LR,
    },
    Quantity {
        title: "Speed",
        axis: "training images per second (higher is better)",
        name: curve::IMAGES_PER_SECOND,
    },
];

/// Loss of every network; gradient norm, learning rate and speed beside it.
pub fn section(context: &ReportContext) -> Option<Section> {
    context
        .outcome
        .cells
        .iter()
        .flat_map(|cell| &cell.snapshots)
        .find(|snapshot| snapshot.training.is_some())?;
    let (mut curves, mut unread) = (Vec::new(), Vec::new());
    for (cell, style) in context.outcome.cells.iter().zip(context.cell_styles()) {
        match TrainingCurve::read(context, cell) {
            Ok(values) => curves.push(Curve {
                label: &cell.label,
                style,
                values,
            }),
            Err(reason) => unread.push((cell, reason)),
        }
    }
    let loss = chart(&curves, &LOSS);
    let others: Vec<_> = OTHERS
        .iter()
        .map(|quantity| (chart(&curves, quantity), quantity))
        .filter(|(chart, _)| !chart.is_empty())
        .collect();
    let body = html! {
        (figure(&loss, "Training loss along training, averaged over neighbouring ticks."))
        div.grid { @for (chart, quantity) in &others { (small_figure(chart, quantity.title)) } }
        @for (cell, reason) in &unread { (absent(&format!("training curve of {}", cell.label), reason)) }
        p.quiet { "Wall time of training: " (wall_times(context)) "." }
    };
    Some(Section {
        id: "training",
        title: "Training curves",
        body,
    })
}

/// "temi C=20 3 min; …": every network with the time of its finished segments.
fn wall_times(context: &ReportContext) -> String {
    let time = |cell: &CellOutcome| {
        let snapshots = cell.snapshots.iter();
        let trained = snapshots.filter_map(|snapshot| snapshot.training.as_ref());
        let seconds: Vec<f64> = trained.map(|training| training.seconds).collect();
        if seconds.is_empty() {
            format!("{} not trained yet", cell.label)
        } else {
            format!("{} {}", cell.label, format::duration(seconds.iter().sum()))
        }
    };
    let all: Vec<String> = context.outcome.cells.iter().map(time).collect();
    all.join("; ")
}

/// The curve of a network with its name and style.
struct Curve<'a> {
    label: &'a str,
    style: usize,
    values: TrainingCurve,
}

fn chart(curves: &[Curve], quantity: &Quantity) -> Chart {
    let series = curves.iter().map(|curve| Series {
        name: curve.label.to_owned(),
        style: curve.style,
        line: Line::Curve,
        points: thinned(curve.label, &curve.values.values(quantity.name)),
    });
    Chart::new(
        Axis::from_zero("training images"),
        Axis::linear(quantity.axis),
        series,
    )
}

/// Means over neighbouring ticks, so that a long curve is no heavier than a screen is wide.
fn thinned(label: &str, ticks: &[(f64, f64)]) -> Vec<Point> {
    let mean = |chunk: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| {
        chunk.iter().map(pick).sum::<f64>() / chunk.len() as f64
    };
    let point = |chunk: &[(f64, f64)]| {
        let (x, y) = (mean(chunk, |tick| tick.0), mean(chunk, |tick| tick.1));
        Point {
            x,
            y,
            error: None,
            tooltip: format!(
                "{label} at {}: {}",
                format::images(x as u64),
                format::number(y)
            ),
        }
    };
    let chunks = ticks.chunks(ticks.len().div_ceil(MAX_POINTS).max(1));
    chunks.map(point).collect()
}

//! Training curves.

use crate::{
    chart::{Axis, Chart, Line, Point, Series},
    context::ReportContext,
    format,
    section::{Section, absent, figure, legend, small_figure},
};
use cedm_sweep::outcome::CellOutcome;
use maud::html;
use std::collections::BTreeMap;

/// Points per curve: more would be less than six pixels apart.
const MOST_POINTS: usize = 160;

/// The column of `curve.json` that the others run along: thousands of training images.
const IMAGES: &str = "kimg";

/// A quantity along training: what the axis says, and its column in `curve.json`.
struct Quantity {
    title: &'static str,
    axis: &'static str,
    name: &'static str,
}
const LOSS: Quantity = Quantity {
    title: "Loss",
    axis: "weighted squared error per pixel (lower is better)",
    name: "loss",
};
const OTHERS: &[Quantity] = &[
    Quantity {
        title: "Gradient norm",
        axis: "norm of the gradient",
        name: "gradient_norm",
    },
    Quantity {
        title: "Learning rate",
        axis: "learning rate",
        name: "lr",
    },
    Quantity {
        title: "Speed",
        axis: "training images per second (higher is better)",
        name: "images_per_second",
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
        match curve(context, cell) {
            Ok(columns) => curves.push(Curve {
                label: &cell.label,
                style,
                columns,
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
        @if let Some((first, _)) = others.first() { (legend(first)) }
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

/// Columns of a training curve by name; all of one length.
type Columns = BTreeMap<String, Vec<Option<f64>>>;

/// The curve of all segments of a network: `curve.json` is an object of columns, one entry per
/// tick.
fn curve(context: &ReportContext, cell: &CellOutcome) -> Result<Columns, String> {
    let mut whole = Columns::new();
    for training in cell
        .snapshots
        .iter()
        .filter_map(|snapshot| snapshot.training.as_ref())
    {
        let object = training
            .curve
            .as_ref()
            .ok_or("the training job wrote no curve")?;
        let bytes = context.artefacts.bytes(object)?;
        let columns: Columns = serde_json::from_slice(&bytes)
            .map_err(|error| format!("{}: {error}", object.object))?;
        let (before, ticks) = (length(&whole), length(&columns));
        for (name, column) in columns {
            let place = whole.entry(name).or_default();
            place.resize(before, None);
            place.extend(column);
        }
        whole
            .values_mut()
            .for_each(|column| column.resize(before + ticks, None));
    }
    if length(&whole) == 0 {
        Err("none of its segments is done".to_owned())
    } else {
        Ok(whole)
    }
}

fn length(columns: &Columns) -> usize {
    columns.get(IMAGES).map_or(0, Vec::len)
}

/// (training images, value) of every tick that has both.
fn pairs(columns: &Columns, name: &str) -> Vec<(f64, f64)> {
    let (Some(kimg), Some(values)) = (columns.get(IMAGES), columns.get(name)) else {
        return Vec::new();
    };
    kimg.iter()
        .zip(values)
        .filter_map(|(kimg, value)| Some((1000.0 * (*kimg)?, (*value)?)))
        .collect()
}

/// Every number of a network's curve: training images, quantity, value. Empty where the curve
/// cannot be read.
pub fn curve_of(context: &ReportContext, cell: &CellOutcome) -> Vec<(f64, String, f64)> {
    let columns = curve(context, cell).unwrap_or_default();
    let of = |name: &String| {
        pairs(&columns, name)
            .into_iter()
            .map(|(nimg, value)| (nimg, name.clone(), value))
            .collect::<Vec<_>>()
    };
    columns
        .keys()
        .filter(|name| *name != IMAGES)
        .flat_map(of)
        .collect()
}

/// The curve of a network.
struct Curve<'a> {
    label: &'a str,
    style: usize,
    columns: Columns,
}

fn chart(curves: &[Curve], quantity: &Quantity) -> Chart {
    let series = curves.iter().map(|curve| Series {
        name: curve.label.to_owned(),
        style: curve.style,
        line: Line::Curve,
        points: thinned(curve.label, &pairs(&curve.columns, quantity.name)),
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
    let chunks = ticks.chunks(ticks.len().div_ceil(MOST_POINTS).max(1));
    chunks.map(point).collect()
}

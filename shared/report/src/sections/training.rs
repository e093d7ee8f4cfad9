//! Training curves.

use crate::{
    chart::{Axis, Chart, Point, Series},
    facts::Facts,
    section::{Section, absent, figure, legend, small_figure},
    words,
};
use cedm_contract::outcome::CellOutcome;
use maud::html;
use serde_json::Value;

/// Points per curve: a screen shows no more.
const MOST_POINTS: usize = 160;

/// A quantity along training: what the axis says, and the names it may have in `curve.json`.
struct Quantity {
    title: &'static str,
    axis: &'static str,
    names: &'static [&'static str],
}
const LOSS: Quantity = Quantity {
    title: "Loss",
    axis: "weighted squared error per pixel (lower is better)",
    names: &["loss"],
};
const OTHERS: &[Quantity] = &[
    Quantity {
        title: "Gradient norm",
        axis: "norm of the gradient",
        names: &["grad_norm", "gradient_norm"],
    },
    Quantity {
        title: "Learning rate",
        axis: "learning rate",
        names: &["lr", "learning_rate"],
    },
    Quantity {
        title: "Speed",
        axis: "training images per second (higher is better)",
        names: &["images_per_s", "images_per_second", "rate"],
    },
];

/// Loss of every network; gradient norm, learning rate and speed beside it.
pub fn section(facts: &Facts) -> Option<Section> {
    facts
        .outcome
        .cells
        .iter()
        .flat_map(|cell| &cell.snapshots)
        .find(|snapshot| snapshot.training.is_some())?;
    let (mut curves, mut unread) = (Vec::new(), Vec::new());
    for (cell, style) in facts.outcome.cells.iter().zip(facts.cell_styles()) {
        match curve(facts, cell) {
            Ok(ticks) => curves.push(Curve {
                label: &cell.label,
                style,
                ticks,
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
        p.quiet { "Wall time of training: "
            @for (index, cell) in facts.outcome.cells.iter().enumerate() {
                @if index > 0 { "; " } (cell.label) " "
                (words::duration(cell.snapshots.iter().filter_map(|snapshot| Some(snapshot.training.as_ref()?.seconds)).sum()))
            } "."
        }
    };
    Some(Section {
        id: "training",
        title: "Training curves",
        body,
    })
}

/// The ticks of all segments of a network.
fn curve(facts: &Facts, cell: &CellOutcome) -> Result<Vec<Value>, String> {
    let mut ticks = Vec::new();
    for snapshot in &cell.snapshots {
        let Some(training) = &snapshot.training else { continue };
        let object = training.curve.as_ref().ok_or("the training job wrote no curve")?;
        let bytes = facts.shelf.bytes(object)?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", object.object))?;
        let list = [&value, &value["points"], &value["ticks"], &value["curve"]]
            .into_iter()
            .find_map(Value::as_array);
        ticks.extend(
            list.ok_or_else(|| format!("{} holds no list of ticks", object.object))?
                .iter()
                .cloned(),
        );
    }
    if ticks.is_empty() {
        Err("no segment of it is done".to_owned())
    } else {
        Ok(ticks)
    }
}

/// Every number of a network's curve: training images, quantity, value. Empty where the curve cannot be read.
pub fn curve_of(facts: &Facts, cell: &CellOutcome) -> Vec<(f64, String, f64)> {
    let ticks = curve(facts, cell).unwrap_or_default();
    let numbers = |tick: &Value| {
        let nimg = nimg_of(tick)?;
        let fields = tick
            .as_object()?
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "nimg" | "kimg"));
        Some(
            fields
                .filter_map(|(name, value)| Some((nimg, name.clone(), value.as_f64()?)))
                .collect::<Vec<_>>(),
        )
    };
    ticks.iter().filter_map(numbers).flatten().collect()
}

/// Training images of a tick.
fn nimg_of(tick: &Value) -> Option<f64> {
    tick["nimg"].as_f64().or_else(|| Some(tick["kimg"].as_f64()? * 1000.0))
}

/// The ticks of a network.
struct Curve<'a> {
    label: &'a str,
    style: usize,
    ticks: Vec<Value>,
}

fn chart(curves: &[Curve], quantity: &Quantity) -> Chart {
    let series = curves.iter().map(|curve| {
        let value = |tick: &Value| quantity.names.iter().find_map(|name| tick[*name].as_f64());
        let all: Vec<(f64, f64)> = curve.ticks.iter().filter_map(|tick| Some((nimg_of(tick)?, value(tick)?))).collect();
        let points = all.chunks(all.len().div_ceil(MOST_POINTS).max(1)).map(|chunk| {
            let mean = |pick: fn(&(f64, f64)) -> f64| chunk.iter().map(pick).sum::<f64>() / chunk.len() as f64;
            let (x, y) = (mean(|tick| tick.0), mean(|tick| tick.1));
            Point {
                x,
                y,
                error: None,
                tip: format!("{} at {}: {}", curve.label, words::images(x as u64), words::number(y)),
            }
        });
        Series {
            name: curve.label.to_owned(),
            style: curve.style,
            joined: true,
            marked: false,
            points: points.collect(),
        }
    });
    Chart {
        x: Axis::from_zero("training images"),
        y: Axis::linear(quantity.axis),
        right: None,
        series: series.filter(|series| !series.points.is_empty()).collect(),
        levels: Vec::new(),
        uprights: Vec::new(),
    }
}

//! One chart as an SVG picture in the colours of the page.
//!
//! Colours are CSS variables, so that the same picture is readable in the light and in the dark
//! theme. Marks carry a tooltip with their exact numbers.

mod axis;
mod captions;
mod frame;
mod marks;

pub use axis::Axis;
pub use marks::{dotted_glyph, glyph};

use captions::{Captions, rows_of_names};
use frame::Frame;
use maud::{Markup, html};

/// How many colours there are for series; later ones repeat with another shape and dashes.
pub const PALETTE: usize = 8;

/// Pixels between marks that share a place.
const MARK_STEP: f64 = 13.0;

/// One point of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Where along the horizontal axis.
    pub x: f64,
    /// Where along the vertical axis.
    pub y: f64,
    /// Half the length of the error bar, in the unit of `y`.
    pub error: Option<f64>,
    /// Tooltip: the exact numbers.
    pub tooltip: String,
}

/// How the points of a series are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Marks without a line.
    Marks,
    /// Marks joined by a line.
    JoinedMarks,
    /// A line alone: dense curves, whose points only answer to the pointer.
    Curve,
}

/// Points that belong together: one clustering, one network.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Index of its colour and shape.
    pub style: usize,
    /// How its points are shown.
    pub line: Line,
    /// In order of x.
    pub points: Vec<Point>,
}

/// A dashed horizontal line: the score of a network without a granularity, a threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// Caption beside the line.
    pub name: String,
    /// Index of its colour; `None` for the colour of text.
    pub style: Option<usize>,
    /// Where along the vertical axis.
    pub y: f64,
}

/// A shaded range of the horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Where it begins.
    pub from: f64,
    /// Where it ends; a range of one value is as wide as a mark.
    pub to: f64,
    /// Index of its colour.
    pub style: usize,
    /// Tooltip.
    pub name: String,
}

/// A chart: axes, series, and lines for comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// The horizontal axis, shared by all series.
    pub x: Axis,
    /// Vertical axis on the left.
    pub y: Axis,
    /// Second vertical axis with what is drawn against it.
    pub right: Option<(Axis, Vec<Series>)>,
    /// Series against the left axis.
    pub series: Vec<Series>,
    /// Horizontal lines with values to compare with.
    pub levels: Vec<Level>,
    /// Vertical lines with their captions.
    pub verticals: Vec<(f64, String)>,
    /// Shaded ranges behind everything else.
    pub spans: Vec<Span>,
    /// Whether marks of several series at one x stand side by side instead of on each other.
    pub side_by_side: bool,
}

impl Chart {
    /// A chart of those series that have points.
    pub fn new(x: Axis, y: Axis, series: impl IntoIterator<Item = Series>) -> Self {
        let series = series.into_iter().filter(|one| !one.points.is_empty());
        Self {
            x,
            y,
            right: None,
            series: series.collect(),
            levels: Vec::new(),
            verticals: Vec::new(),
            spans: Vec::new(),
            side_by_side: false,
        }
    }

    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// The picture, `width` × `height` CSS pixels; it scales with its container.
    pub fn svg(&self, width: u32, height: u32) -> Markup {
        let frame = Frame::new(self, f64::from(width), f64::from(height));
        let mut captions = Captions::new(&frame);
        let right = self.right.iter().flat_map(|(_, series)| series);
        let shifts = self.shifts(&frame);
        let main: Vec<_> = self
            .series
            .iter()
            .zip(&shifts)
            .map(|(series, shifts)| main_series(&frame, series, shifts, &mut captions))
            .collect();
        for (x, _) in &self.verticals {
            captions.avoid_path(&[(frame.x(*x), frame.top), (frame.x(*x), frame.bottom)]);
        }
        let second: Vec<_> = right
            .map(|series| second_series(&frame, series, &mut captions))
            .collect();
        html! {
            svg viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(self.spoken()) {
                @for span in &self.spans { (frame.span(span)) }
                (frame.grid_and_axes(self))
                @for level in &self.levels { (frame.level(level)) }
                @for (x, _) in &self.verticals { (frame.vertical(*x)) }
                @for series in &second { (series) }
                @for (lines, _) in &main { (lines) }
                @for (_, marks) in &main { (marks) }
                @for level in &self.levels { (captions.beside(level)) }
                @for (row, (x, name)) in rows_of_names(&frame, &self.verticals) { (captions.above(row, x, name)) }
            }
        }
    }

    /// What a screen reader says.
    fn spoken(&self) -> String {
        let names: Vec<&str> = self.series.iter().map(|one| one.name.as_str()).collect();
        let (y, x) = (&self.y.label, &self.x.label);
        format!("Chart of {y} against {x}: {}", names.join(", "))
    }

    /// Pixels to the right for every point of every series: none, unless marks stand side by side.
    fn shifts(&self, frame: &Frame) -> Vec<Vec<f64>> {
        let holds = |series: &Series, x: f64| series.points.iter().any(|point| point.x == x);
        let shift = |index: usize, x: f64| {
            let before = self.series[..index]
                .iter()
                .filter(|one| holds(one, x))
                .count();
            let all = self.series.iter().filter(|one| holds(one, x)).count();
            // At most 80 % of the gap to the next C, so that the groups of two C stay apart.
            let step = MARK_STEP.min(frame.narrowest_column(self) * 0.8 / all as f64);
            (before as f64 - (all - 1) as f64 / 2.0) * step
        };
        let of = |(index, series): (usize, &Series)| {
            let shift = |point: &Point| {
                if self.side_by_side {
                    shift(index, point.x)
                } else {
                    0.0
                }
            };
            series.points.iter().map(shift).collect()
        };
        self.series.iter().enumerate().map(of).collect()
    }
}

/// A series against the left axis: its line with error bars, and its marks, which lie above all
/// lines.
fn main_series(
    frame: &Frame,
    series: &Series,
    shifts: &[f64],
    captions: &mut Captions,
) -> (Markup, Markup) {
    let at = |(point, shift): (&Point, &f64)| (frame.x(point.x) + shift, frame.y(point.y));
    let path: Vec<(f64, f64)> = series.points.iter().zip(shifts).map(at).collect();
    if series.line != Line::Marks {
        captions.avoid_path(&path);
    }
    let lines = html! {
        @if series.line != Line::Marks { (marks::path(&path, series.style)) }
        @for (point, (x, y)) in series.points.iter().zip(&path) {
            @if let Some(error) = point.error.filter(|error| *error > 0.0) {
                @let (top, bottom) = (frame.y(point.y + error), frame.y(point.y - error));
                // As wide as the caps of the bar.
                (captions.avoid((x - 4.0, top.min(*y)), (x + 4.0, bottom.max(*y))))
                (marks::error_bar(*x, top, bottom, series.style))
            }
        }
    };
    let marks = html! {
        @for (point, (x, y)) in series.points.iter().zip(&path) {
            @if series.line == Line::Curve { (marks::hidden(*x, *y, &point.tooltip)) }
            @else {
                // As large as a mark with its outline.
                (captions.avoid((x - 6.0, y - 6.0), (x + 6.0, y + 6.0)))
                (marks::mark(*x, *y, series.style, &point.tooltip))
            }
        }
    };
    (lines, marks)
}

/// A series against the right axis: small marks and thin dashes.
fn second_series(frame: &Frame, series: &Series, captions: &mut Captions) -> Markup {
    let at = |point: &Point| (frame.x(point.x), frame.right_y(point.y));
    let path: Vec<(f64, f64)> = series.points.iter().map(at).collect();
    captions.avoid_path(&path);
    html! {
        (marks::thin_path(&path, series.style))
        @for (point, (x, y)) in series.points.iter().zip(&path) { (marks::small(*x, *y, series.style, &point.tooltip)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, style: usize, clusters: &[f64]) -> Series {
        let point = |x: &f64| Point {
            x: *x,
            y: 1.0 / x,
            error: Some(0.01),
            tooltip: format!("{name} C={x}"),
        };
        Series {
            name: name.to_owned(),
            style,
            line: Line::JoinedMarks,
            points: clusters.iter().map(point).collect(),
        }
    }

    fn chart() -> Chart {
        let all = [
            series("temi", 0, &[10.0, 20.0]),
            series("kmeans", 1, &[20.0]),
        ];
        Chart {
            side_by_side: true,
            ..Chart::new(Axis::clusters(), Axis::from_zero("FD"), all)
        }
    }

    #[test]
    fn marks_at_one_place_stand_side_by_side() {
        let frame = Frame::new(&chart(), 900.0, 380.0);
        let half = MARK_STEP / 2.0;
        assert_eq!(chart().shifts(&frame), [vec![0.0, -half], vec![half]]);
        let stacked = Chart {
            side_by_side: false,
            ..chart()
        };
        assert_eq!(stacked.shifts(&frame), [vec![0.0, 0.0], vec![0.0]]);
    }

    #[test]
    fn every_point_has_its_tooltip_and_every_name_is_spoken() {
        let svg = chart().svg(900, 380).into_string();
        for said in ["temi C=10", "temi C=20", "kmeans C=20"] {
            assert!(svg.contains(&format!("<title>{said}</title>")), "{svg}");
        }
        assert!(svg.contains("aria-label=\"Chart of FD against C"), "{svg}");
        assert!(svg.contains(": temi, kmeans\""), "{svg}");
    }

    #[test]
    fn series_without_points_are_not_drawn() {
        let empty = Chart::new(Axis::linear("x"), Axis::linear("y"), [series("s", 0, &[])]);
        assert!(empty.is_empty() && empty.series.is_empty());
    }
}

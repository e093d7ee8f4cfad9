//! The frame of a chart: where the plot lies inside the picture, its grid, axes and labels.

use super::{
    Chart, Level, Point, Span,
    axis::Layout,
    captions::{rows_of_names, wrapped},
    marks::{rounded, style_class},
};
use maud::{Markup, html};

/// Width of a character of tick labels in pixels: digits of the widest common sans-serif.
const TICK_CHARACTER: f64 = 7.6;
/// Ticks below the plot, however wide it is.
const MAX_TICKS: f64 = 10.0;
/// Pixels of the picture's height for each tick of a vertical axis.
const TICK_HEIGHT: f64 = 48.0;
/// Height of a line of text.
pub const LINE_HEIGHT: f64 = 16.0;
/// Pixels below the plot for tick labels and the name of the axis.
const FOOT: f64 = 44.0;

/// The plot inside the picture, in CSS pixels from the top left corner.
pub struct Frame {
    /// Width of the picture.
    pub width: f64,
    /// Left edge of the plot.
    pub left: f64,
    /// Right edge of the plot.
    pub right: f64,
    /// Upper edge of the plot.
    pub top: f64,
    /// Lower edge of the plot.
    pub bottom: f64,
    x: Layout,
    y: Layout,
    second: Option<Layout>,
    /// Names of the vertical axes, line by line: written level above the plot, where they are
    /// easier to read than turned by 90°.
    names: Names,
}

/// Lines of text above the plot, left and right.
struct Names {
    left: Vec<String>,
    right: Vec<String>,
    /// Lines above the first of the right name.
    right_from: usize,
}

impl Frame {
    /// The frame of a chart in a picture of this size.
    pub fn new(chart: &Chart, width: f64, height: f64) -> Self {
        let y = chart
            .y
            .laid_out(&vertical_extent(chart), (height / TICK_HEIGHT) as usize);
        let second = chart.right.as_ref().map(|(axis, series)| {
            let values: Vec<_> = series
                .iter()
                .flat_map(|one| &one.points)
                .map(|point| (point.y, point.y))
                .collect();
            axis.laid_out(&values, (height / TICK_HEIGHT) as usize)
        });
        let labels = |layout: &Layout| 12.0 + TICK_CHARACTER * layout.longest_label() as f64;
        let left = labels(&y);
        let right = width - second.as_ref().map_or(16.0, labels);
        let xs = horizontal_extent(chart);
        let longest = chart.x.laid_out(&xs, 2).longest_label() as f64;
        let most = (right - left) / (TICK_CHARACTER * longest + 16.0).max(40.0);
        let most = most.min(MAX_TICKS);
        let names = Names::new(chart, width);
        let mut frame = Self {
            width,
            left,
            right,
            top: 0.0,
            bottom: height - FOOT,
            x: chart.x.laid_out(&xs, most as usize),
            y,
            second,
            names,
        };
        let captions = rows_of_names(&frame, &chart.verticals)
            .map(|(row, _)| row + 1)
            .max();
        let lines = frame.names.lines() + captions.unwrap_or(0);
        frame.top = 11.0 + LINE_HEIGHT * lines as f64;
        frame
    }

    /// Pixels from the left of a value of the horizontal axis.
    pub fn x(&self, value: f64) -> f64 {
        rounded(self.left + self.x.fraction(value) * (self.right - self.left))
    }
    /// Pixels from the top of a value of the left axis.
    pub fn y(&self, value: f64) -> f64 {
        self.height_of(&self.y, value)
    }
    /// Pixels from the top of a value of the right axis.
    pub fn right_y(&self, value: f64) -> f64 {
        self.second
            .as_ref()
            .map_or(self.bottom, |layout| self.height_of(layout, value))
    }
    fn height_of(&self, layout: &Layout, value: f64) -> f64 {
        rounded(self.bottom - layout.fraction(value) * (self.bottom - self.top))
    }

    /// Pixels between the two closest x that occur; the width of the plot where there is only one.
    pub fn narrowest_column(&self, chart: &Chart) -> f64 {
        let points = chart.series.iter().flat_map(|series| &series.points);
        let mut all: Vec<f64> = points.map(|point| self.x(point.x)).collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        let gaps = all.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.fold(self.right - self.left, f64::min)
    }

    /// Grid lines, tick labels and the names of the axes.
    pub fn grid_and_axes(&self, chart: &Chart) -> Markup {
        let (left, right, top, bottom) = (self.left, self.right, self.top, self.bottom);
        let line = |index: usize| 13.0 + LINE_HEIGHT * index as f64;
        html! {
            g.grid-lines {
                @for (value, _) in &self.x.ticks { path d=(format!("M{},{top}V{bottom}", self.x(*value))) {} }
                @for (value, _) in &self.y.ticks { path d=(format!("M{left},{}H{right}", self.y(*value))) {} }
            }
            path.axis d=(format!("M{left},{top}V{bottom}H{right}")) {}
            @if self.second.is_some() { path.axis d=(format!("M{right},{top}V{bottom}")) {} }
            g.ticks {
                @for (value, label) in &self.x.ticks { text x=(self.x(*value)) y=(bottom + 17.0) text-anchor="middle" { (label) } }
                @for (value, label) in &self.y.ticks { text x=(left - 7.0) y=(self.y(*value) + 4.5) text-anchor="end" { (label) } }
                @for (value, label) in self.second.iter().flat_map(|layout| &layout.ticks) { text x=(right + 7.0) y=(self.right_y(*value) + 4.5) { (label) } }
            }
            g.axis-names {
                text x=((left + right) / 2.0) y=(bottom + 37.0) text-anchor="middle" { (chart.x.label) }
                @for (index, words) in self.names.left.iter().enumerate() { text x="2" y=(line(index)) { (words) } }
                @for (index, words) in self.names.right.iter().enumerate() { text x=(self.width - 2.0) y=(line(self.names.right_from + index)) text-anchor="end" { (words) } }
            }
        }
    }

    /// A horizontal line over the whole plot.
    pub fn level(&self, level: &Level) -> Markup {
        let (left, right, y) = (self.left, self.right, self.y(level.y));
        html! { path class=(format!("level{}", style_class(level.style))) d=(format!("M{left},{y}H{right}")) {} }
    }
    /// A shaded range over the whole height of the plot.
    pub fn span(&self, span: &Span) -> Markup {
        const BESIDE: f64 = 9.0;
        let left = (self.x(span.from) - BESIDE).max(self.left);
        let right = (self.x(span.to) + BESIDE).min(self.right);
        html! {
            rect class=(format!("span{}", style_class(Some(span.style)))) x=(rounded(left)) y=(self.top)
                width=(rounded((right - left).max(0.0))) height=(rounded(self.bottom - self.top)) { title { (span.name) } }
        }
    }
    /// A vertical line over the whole plot.
    pub fn vertical(&self, x: f64) -> Markup {
        html! { path.vertical d=(format!("M{},{}V{}", self.x(x), self.top, self.bottom)) {} }
    }
}

impl Names {
    fn new(chart: &Chart, width: f64) -> Self {
        let left = wrapped(&chart.y.label, width);
        let right = chart
            .right
            .as_ref()
            .map_or_else(Vec::new, |(axis, _)| wrapped(&axis.label, width));
        let both = format!("{}{}", chart.y.label, right.join(""));
        let fits = left.len() == 1 && wrapped(&both, width - 24.0).len() == 1;
        let right_from = if fits { 0 } else { left.len() };
        Self {
            left,
            right,
            right_from,
        }
    }
    fn lines(&self) -> usize {
        self.left.len().max(if self.right.is_empty() {
            0
        } else {
            self.right_from + self.right.len()
        })
    }
}

/// (low, high) of everything that the left axis has to hold.
fn vertical_extent(chart: &Chart) -> Vec<(f64, f64)> {
    let with_bar = |point: &Point| {
        let error = point.error.unwrap_or(0.0);
        (point.y - error, point.y + error)
    };
    let points = chart.series.iter().flat_map(|series| &series.points);
    let levels = chart.levels.iter().map(|level| (level.y, level.y));
    points.map(with_bar).chain(levels).collect()
}

/// Every x that the horizontal axis has to hold.
fn horizontal_extent(chart: &Chart) -> Vec<(f64, f64)> {
    let second = chart.right.iter().flat_map(|(_, series)| series);
    let points = chart
        .series
        .iter()
        .chain(second)
        .flat_map(|series| &series.points);
    let verticals = chart.verticals.iter().map(|(x, _)| *x);
    points
        .map(|point| point.x)
        .chain(verticals)
        .map(|x| (x, x))
        .collect()
}

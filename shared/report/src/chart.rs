//! One chart as an SVG picture that follows the page's colours.
//!
//! Drawn by plotters with placeholder colours, which then become CSS variables: the same picture is
//! readable in the light and in the dark theme. Marks carry a tooltip with their exact numbers.

mod axis;
mod marks;

pub use axis::Axis;
pub use marks::glyph;

use marks::Shape;
use plotters::{
    coord::ranged1d::{DefaultFormatting, KeyPointHint},
    element::DashedPathElement,
    prelude::*,
};

/// How many colours there are for series; later ones repeat with another shape and dash.
pub const PALETTE: usize = 8;

/// Placeholder of a series' colour.
fn series_colour(style: usize) -> RGBColor {
    RGBColor(1, 2, 10 + (style % PALETTE) as u8)
}
const INK: RGBColor = RGBColor(1, 2, 3);
const FAINT: RGBColor = RGBColor(1, 2, 4);
const QUIET: RGBColor = RGBColor(1, 2, 5);

/// One point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Abscissa.
    pub x: f64,
    /// Ordinate.
    pub y: f64,
    /// Half the length of the error bar.
    pub error: Option<f64>,
    /// Tooltip.
    pub tip: String,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Index of its colour and shape.
    pub style: usize,
    /// Whether its points are joined.
    pub joined: bool,
    /// Whether marks are drawn: not on dense curves.
    pub marked: bool,
    /// In order of x.
    pub points: Vec<Point>,
}

/// A horizontal line: a network without a granularity, a threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// Name beside the line.
    pub name: String,
    /// Index of its colour; `None` for ink.
    pub style: Option<usize>,
    /// Where.
    pub y: f64,
}

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// Second vertical axis with what is drawn against it.
    pub right: Option<(Axis, Vec<Series>)>,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Horizontal lines.
    pub levels: Vec<Level>,
    /// Vertical lines with names.
    pub uprights: Vec<(f64, String)>,
}

impl Chart {
    /// Whether anything could be drawn.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// The picture as SVG of this size in CSS pixels; it scales with its container.
    pub fn svg(&self, width: u32, height: u32) -> String {
        let mut svg = String::new();
        let hits = self.draw(&mut svg, (width, height)).unwrap_or_default(); // writing into a string cannot fail
        themed(&svg, &self.spoken(), &hits)
    }

    /// What a screen reader says.
    fn spoken(&self) -> String {
        let names: Vec<&str> = self
            .series
            .iter()
            .map(|series| series.name.as_str())
            .collect();
        format!(
            "Chart of {} against {}: {}",
            self.y.label,
            self.x.label,
            names.join(", ")
        )
    }

    fn draw(
        &self,
        svg: &mut String,
        size: (u32, u32),
    ) -> Result<String, Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        let small = size.0 < 600;
        let all = |pick: fn(&Point) -> (f64, f64)| {
            self.series
                .iter()
                .flat_map(|s| &s.points)
                .map(pick)
                .collect::<Vec<_>>()
        };
        let (xs, mut ys) = (
            all(|p| (p.x, p.x)),
            all(|p| (p.y - p.error.unwrap_or(0.0), p.y + p.error.unwrap_or(0.0))),
        );
        ys.extend(self.levels.iter().map(|level| (level.y, level.y)));
        let beside = self
            .right
            .iter()
            .flat_map(|(_, series)| series)
            .flat_map(|series| &series.points)
            .map(|p| p.x);
        let places = beside
            .chain(self.uprights.iter().map(|(x, _)| *x))
            .map(|x| (x, x));
        let all_xs: Vec<_> = xs.iter().copied().chain(places).collect();
        let plot_width = size
            .0
            .saturating_sub(if self.right.is_some() { 130 } else { 80 });
        let (x, y) = (
            self.x
                .laid_out(&all_xs, plot_width / if small { 46 } else { 54 }),
            self.y.laid_out(&ys, size.1 / 48),
        );
        let right = self.right.as_ref().map(|(axis, series)| {
            let values: Vec<_> = series
                .iter()
                .flat_map(|s| &s.points)
                .map(|p| (p.y, p.y))
                .collect();
            (axis.laid_out(&values, size.1 / 48), series)
        });
        let right_range = right
            .as_ref()
            .map_or((0.0, 1.0), |(layout, _)| layout.range);
        let right_ticks = right
            .as_ref()
            .map_or_else(Vec::new, |(layout, _)| layout.positions());

        let mut chart = ChartBuilder::on(&root)
            .margin_top(
                24 + if small && right.is_some() { 17 } else { 0 }
                    + if self.uprights.is_empty() { 0 } else { 16 },
            )
            .margin_right(if right.is_some() { 2 } else { 16 })
            .margin_bottom(2)
            .margin_left(2)
            .x_label_area_size(44)
            .y_label_area_size(y.label_width())
            .right_y_label_area_size(right.as_ref().map_or(0, |(layout, _)| layout.label_width()))
            .build_cartesian_2d(keyed(x.range, x.positions()), keyed(y.range, y.positions()))?
            .set_secondary_coord(
                keyed(x.range, x.positions()),
                keyed(right_range, right_ticks),
            );
        let text = |colour: RGBColor| ("sans-serif", 15).into_font().color(&colour);
        let (x_text, y_text) = (|at: &f64| x.text(*at), |at: &f64| y.text(*at));
        chart
            .configure_mesh()
            .x_labels(40)
            .y_labels(40)
            .x_desc(self.x.label.as_str())
            .x_label_formatter(&x_text)
            .y_label_formatter(&y_text)
            .label_style(text(QUIET))
            .axis_desc_style(text(INK))
            .axis_style(FAINT)
            .bold_line_style(FAINT.mix(0.55))
            .light_line_style(TRANSPARENT)
            .draw()?;
        if let Some((layout, _)) = &right {
            let right_text = |at: &f64| layout.text(*at);
            let mut axes = chart.configure_secondary_axes();
            axes.y_labels(40)
                .y_label_formatter(&right_text)
                .label_style(text(QUIET))
                .axis_style(FAINT);
            axes.draw()?;
        }

        // Names of the vertical axes stand level above them: no turned heads, no cut words.
        let mut hits = marks::axis_name(2, 14, "start", &self.y.label);
        if let Some((axis, _)) = &self.right {
            hits += &marks::axis_name(
                size.0 as i32 - 2,
                if small { 31 } else { 14 },
                "end",
                &axis.label,
            );
        }
        let area = chart.plotting_area().clone();
        let pixel = |at_x: f64, at_y: f64| area.map_coordinate(&(at_x, at_y));
        for level in &self.levels {
            let at = y.at(level.y);
            let colour = level.style.map_or(QUIET, series_colour);
            area.draw(&DashedPathElement::new(
                vec![(x.range.0, at), (x.range.1, at)],
                6,
                4,
                colour.stroke_width(2),
            ))?;
            let (px, py) = pixel(x.range.1, at);
            hits += &marks::caption(px - 4, py - 5, "end", level.style, &level.name);
        }
        for (at, name) in &self.uprights {
            let at = x.at(*at);
            area.draw(&DashedPathElement::new(
                vec![(at, y.range.0), (at, y.range.1)],
                3,
                3,
                QUIET.stroke_width(1),
            ))?;
            let (px, py) = pixel(at, y.range.1);
            hits += &marks::caption(px, py - 6, "middle", None, name);
        }
        if let Some((layout, series)) = &right {
            for one in series.iter() {
                let path: Vec<_> = one
                    .points
                    .iter()
                    .map(|p| (x.at(p.x), layout.at(p.y)))
                    .collect();
                chart.draw_secondary_series(DashedLineSeries::new(
                    path.iter().copied(),
                    4,
                    3,
                    series_colour(one.style).mix(0.75).stroke_width(1),
                ))?;
                for (point, at) in one.points.iter().zip(&path) {
                    let fraction = (at.1 - layout.range.0) / (layout.range.1 - layout.range.0);
                    let (px, py) = pixel(at.0, y.range.0 + fraction * (y.range.1 - y.range.0));
                    hits += &marks::small(px, py, one.style, &point.tip);
                }
            }
        }
        for one in &self.series {
            let colour = series_colour(one.style);
            let path: Vec<_> = one.points.iter().map(|p| (x.at(p.x), y.at(p.y))).collect();
            if one.joined && one.style < PALETTE {
                area.draw(&PathElement::new(path.clone(), colour.stroke_width(2)))?;
            } else if one.joined {
                area.draw(&DashedPathElement::new(
                    path.clone(),
                    7,
                    3,
                    colour.stroke_width(2),
                ))?;
            }
            for (point, at) in one.points.iter().zip(path) {
                let (px, py) = pixel(at.0, at.1);
                if let Some(error) = point.error.filter(|error| *error > 0.0) {
                    let (_, top) = pixel(at.0, y.at(point.y + error));
                    let (_, bottom) = pixel(at.0, y.at(point.y - error));
                    hits += &marks::error_bar(px, top, bottom, one.style);
                }
                hits += &if one.marked {
                    marks::mark(px, py, Shape::of(one.style), one.style, &point.tip)
                } else {
                    marks::hidden(px, py, &point.tip)
                };
            }
        }
        root.present()?;
        Ok(hits)
    }
}

/// A range whose ticks we choose.
#[derive(Clone)]
struct Keyed {
    ends: (f64, f64),
    ticks: Vec<f64>,
}

impl Ranged for Keyed {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let fraction = (value - self.ends.0) / (self.ends.1 - self.ends.0);
        from + (fraction * f64::from(to - from)).round() as i32
    }
    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }
    fn range(&self) -> std::ops::Range<f64> {
        self.ends.0..self.ends.1
    }
}

fn keyed(ends: (f64, f64), ticks: Vec<f64>) -> Keyed {
    Keyed { ends, ticks }
}

/// Placeholder colours become the page's, sizes the container's; what we draw ourselves is added.
fn themed(svg: &str, spoken: &str, hits: &str) -> String {
    let mut text = svg.to_owned();
    for (placeholder, variable) in [
        ("#010203", "ink"),
        ("#010204", "faint"),
        ("#010205", "quiet"),
    ] {
        text = recoloured(&text, placeholder, variable);
    }
    for style in 0..PALETTE {
        let RGBColor(red, green, blue) = series_colour(style);
        text = recoloured(
            &text,
            &format!("#{red:02X}{green:02X}{blue:02X}"),
            &format!("s{style}"),
        );
    }
    let open = text
        .find("<svg ")
        .and_then(|start| Some((start, start + text[start..].find('>')?)));
    let Some((start, end)) = open else {
        return text;
    };
    let view = text[start..end]
        .find("viewBox=")
        .map_or("", |at| &text[start + at..end]);
    let view = view.split('"').nth(1).unwrap_or("0 0 1 1");
    let head = format!(
        "<svg viewBox=\"{view}\" role=\"img\" aria-label=\"{}\">",
        marks::escaped(spoken)
    );
    let body = text[end + 1..].replacen("</svg>", &format!("{hits}</svg>"), 1);
    format!("{head}{body}")
}

fn recoloured(svg: &str, placeholder: &str, variable: &str) -> String {
    svg.replace(
        &format!("fill=\"{placeholder}\""),
        &format!("style=\"fill:var(--{variable})\""),
    )
    .replace(
        &format!("stroke=\"{placeholder}\""),
        &format!("style=\"stroke:var(--{variable})\""),
    )
}

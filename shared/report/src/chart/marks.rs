//! Marks, lines and error bars, each as a piece of SVG.

use super::{Line, PALETTE};
use maud::{Markup, html};

/// A coordinate to a tenth of a pixel: short, and smooth enough for any screen.
pub fn rounded(pixels: f64) -> f64 {
    (10.0 * pixels).round() / 10.0
}

/// ` s3`: the CSS class that gives a mark or line its colour.
pub fn style_class(style: Option<usize>) -> String {
    style.map_or_else(String::new, |style| format!(" s{}", style % PALETTE))
}

fn classes(name: &str, style: usize) -> String {
    format!("{name}{}", style_class(Some(style)))
}

/// The shape of a style around a point, so that series are told apart without colour: circle,
/// square, triangle, diamond.
fn shape(style: usize, x: f64, y: f64) -> Markup {
    match style % 4 {
        0 => html! { circle cx=(x) cy=(y) r="5" {} },
        1 => html! { rect x=(rounded(x - 4.0)) y=(rounded(y - 4.0)) width="8" height="8" {} },
        2 => html! { path d=(format!("M{x},{}l5,9h-10z", rounded(y - 5.0))) {} },
        _ => html! { path d=(format!("M{x},{}l5,5l-5,5l-5,-5z", rounded(y - 5.0))) {} },
    }
}

/// A mark with its tooltip; it answers to the pointer within 11 pixels.
pub fn mark(x: f64, y: f64, style: usize, tooltip: &str) -> Markup {
    html! {
        g class=(classes("mark", style)) {
            circle.hit cx=(x) cy=(y) r="11" {}
            (shape(style, x, y))
            title { (tooltip) }
        }
    }
}

/// A mark against the right axis.
pub fn small(x: f64, y: f64, style: usize, tooltip: &str) -> Markup {
    html! {
        g class=(classes("mark small", style)) {
            circle.hit cx=(x) cy=(y) r="9" {}
            circle cx=(x) cy=(y) r="2.5" {}
            title { (tooltip) }
        }
    }
}

/// A place that answers to the pointer, on curves without marks.
pub fn hidden(x: f64, y: f64, tooltip: &str) -> Markup {
    html! { g.mark { circle.hit cx=(x) cy=(y) r="6" {} title { (tooltip) } } }
}

/// A line through these points; dashed where the colour is used for the second time.
pub fn path(points: &[(f64, f64)], style: usize) -> Markup {
    let name = if style < PALETTE {
        "line"
    } else {
        "line again"
    };
    html! { path class=(classes(name, style)) d=(data(points)) {} }
}

/// A line against the right axis.
pub fn thin_path(points: &[(f64, f64)], style: usize) -> Markup {
    html! { path class=(classes("line thin", style)) d=(data(points)) {} }
}

fn data(points: &[(f64, f64)]) -> String {
    let corner = |(index, (x, y)): (usize, &(f64, f64))| {
        let command = if index == 0 { 'M' } else { 'L' };
        format!("{command}{},{}", rounded(*x), rounded(*y))
    };
    points.iter().enumerate().map(corner).collect()
}

/// An error bar with caps.
pub fn error_bar(x: f64, top: f64, bottom: f64, style: usize) -> Markup {
    let (from, x) = (rounded(x - 4.0), rounded(x));
    html! { path class=(classes("bar", style)) d=(format!("M{x},{top}V{bottom}M{from},{top}h8M{from},{bottom}h8")) {} }
}

/// A series as it is drawn, for legends: its mark, its line, or both.
pub fn glyph(style: usize, line: Line) -> Markup {
    html! {
        svg.glyph viewBox="0 0 26 14" aria-hidden="true" {
            @if line != Line::Marks { (path(&[(0.0, 7.0), (26.0, 7.0)], style)) }
            @if line != Line::Curve { g class=(classes("mark", style)) { (shape(style, 13.0, 7.0)) } }
        }
    }
}

/// The mark of everything against the right axis, for legends.
pub fn dotted_glyph() -> Markup {
    html! {
        svg.glyph viewBox="0 0 26 14" aria-hidden="true" {
            path.line.thin d="M0,7H26" {}
            circle.dot cx="13" cy="7" r="2.5" {}
        }
    }
}

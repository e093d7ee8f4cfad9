//! A part of the page, and the pieces that parts are built from.

use crate::{
    chart::{Chart, glyph},
    words,
};
use maud::{Markup, PreEscaped, html};

/// A part of the page.
pub struct Section {
    /// Anchor.
    pub id: &'static str,
    /// Head, also in the navigation.
    pub title: &'static str,
    /// What it shows.
    pub body: Markup,
}

/// A chart in two sizes: the page shows the one that fits.
pub fn figure(chart: &Chart, caption: &str) -> Markup {
    html! {
        figure.chart {
            @if chart.is_empty() {
                p.empty { "Nothing to draw yet: " (caption) }
            } @else {
                div.wide { (PreEscaped(chart.svg(900, 380))) }
                div.narrow { (PreEscaped(chart.svg(420, 330))) }
                (legend(chart))
                figcaption { (caption) }
            }
        }
    }
}

/// A small chart, one of several side by side.
pub fn small_figure(chart: &Chart, caption: &str) -> Markup {
    html! {
        figure.chart.small {
            (PreEscaped(chart.svg(370, 250)))
            figcaption { (caption) }
        }
    }
}

/// Names of the series with their marks.
pub fn legend(chart: &Chart) -> Markup {
    let right = chart
        .right
        .as_ref()
        .map(|(axis, series)| (axis, series.len()));
    html! {
        @if chart.series.len() + usize::from(right.is_some()) > 1 {
            ul.legend {
                @for series in &chart.series { li { (PreEscaped(glyph(series.style))) (series.name) } }
                @if let Some((axis, _)) = right { li.dashed { (axis.label) ", right axis, thin dashes" } }
            }
        }
    }
}

/// A table that can be copied: buttons beside it take its text along.
pub struct Table {
    /// File name of its CSV.
    pub name: &'static str,
    /// Column heads; those that start with `#` hold numbers.
    pub heads: Vec<String>,
    /// Rows of cells.
    pub rows: Vec<Vec<Markup>>,
}

impl Table {
    /// The table with its buttons.
    pub fn markup(&self) -> Markup {
        html! {
            div.table {
                div.tools {
                    button type="button" data-copy=(self.name) { "copy" }
                    button type="button" data-save=(self.name) { "csv" }
                }
                div.scroll tabindex="0" {
                    table id=(self.name) {
                        thead { tr { @for head in &self.heads { th.number[head.starts_with('#')] { (head.trim_start_matches('#')) } } } }
                        tbody {
                            @for row in &self.rows {
                                tr { @for (head, cell) in self.heads.iter().zip(row) { td.number[head.starts_with('#')] { (cell) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A number, or the reason why there is none.
pub fn optional(value: Option<f64>, reason: &str) -> Markup {
    value.map_or_else(
        || words::missing(reason),
        |value| html! { (words::number(value)) },
    )
}

/// A remark where a picture or curve would stand.
pub fn absent(what: &str, reason: &str) -> Markup {
    html! { p.absent { strong { (what) } " — missing: " (reason) } }
}

//! A part of the page, and the pieces that parts are built from.

use crate::{
    chart::{Chart, dotted_glyph, glyph},
    format,
};
use maud::{Markup, html};

/// A part of the page.
pub struct Section {
    /// Anchor of the section in the page.
    pub id: &'static str,
    /// Head, also in the navigation.
    pub title: &'static str,
    /// HTML below the heading.
    pub body: Markup,
}

/// A chart in two sizes: the page shows the one that fits.
pub fn figure(chart: &Chart, caption: &str) -> Markup {
    html! {
        figure.chart {
            @if chart.is_empty() {
                p.empty { "Nothing to draw yet: " (caption) }
            } @else {
                div.wide { (chart.svg(900, 380)) }
                div.narrow { (chart.svg(380, 310)) }
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
            (chart.svg(370, 250))
            figcaption { (caption) }
        }
    }
}

/// Names of the series with their marks; nothing where there is only one.
pub fn legend(chart: &Chart) -> Markup {
    html! {
        @if chart.series.len() + usize::from(chart.right.is_some()) > 1 {
            ul.legend {
                @for series in &chart.series {
                    li { (glyph(series.style, series.line)) (series.name) }
                }
                @if let Some((axis, _)) = &chart.right { li.quiet { (dotted_glyph()) (axis.label) " (right axis)" } }
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
    /// Rows, each with one cell for every head.
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
        || format::missing(reason),
        |value| html! { (format::number(value)) },
    )
}

/// A remark where a picture or curve would stand.
pub fn absent(what: &str, reason: &str) -> Markup {
    html! { p.absent { strong { (what) } " — missing: " (reason) } }
}

//! Ways of grouping, compared at equal numbers of clusters.

use super::scores::end_point;
use crate::{
    chart::{Axis, Chart, Level, Line, Series},
    context::ReportContext,
    format,
    measure::Measure,
    section::{Section, Table, figure, optional},
};
use cedm_sweep::outcome::CellOutcome;
use maud::{Markup, html};
use std::collections::BTreeSet;

/// The part of a column's width that its marks take.
const COLUMN_SHARE: f64 = 0.6;

/// A chart and a table of every C that more than one clustering has; nothing where there is none.
pub fn section(context: &ReportContext) -> Option<Section> {
    let measure = context.primary()?;
    let comparison = Comparison::new(context)?;
    let body = html! {
        (figure(&comparison.chart(measure), &format!(
            "{} of networks with equally many clusters, side by side. Bars: standard deviation \
             over {}, {}.",
            measure.title, context.spread_is_over(), context.counts_of(&measure.key))))
        p { (measure.head()) " of networks with equally many clusters; the best of each row is \
            bold."
            @if let Some(score) = context.unconditional().and_then(|cell| context.score(cell, &measure.key)) {
                " Without any condition: " (format::spread(score.mean, score.std)) "."
            }
        }
        (comparison.table(measure).markup())
    };
    Some(Section {
        id: "methods",
        title: "Methods at equal C",
        body,
    })
}

struct Comparison<'a> {
    context: &'a ReportContext<'a>,
    /// Clusterings, in the order of the file.
    names: Vec<&'a str>,
    /// Every C that several of them have, ascending.
    shared: Vec<u32>,
}

impl<'a> Comparison<'a> {
    fn new(context: &'a ReportContext<'a>) -> Option<Self> {
        let mut names: Vec<&str> = Vec::new();
        for cell in context.granularities() {
            if !names.contains(&cell.clustering.as_str()) {
                names.push(&cell.clustering);
            }
        }
        let all: BTreeSet<u32> = context
            .granularities()
            .filter_map(|cell| cell.clusters)
            .collect();
        let mut comparison = Self {
            context,
            names,
            shared: Vec::new(),
        };
        let several = |clusters: &u32| comparison.networks(*clusters).flatten().count() > 1;
        let shared: Vec<u32> = all.into_iter().filter(several).collect();
        comparison.shared = shared;
        (!comparison.shared.is_empty()).then_some(comparison)
    }

    /// The network of every clustering at this C, in the order of the names.
    fn networks(&self, clusters: u32) -> impl Iterator<Item = Option<&'a CellOutcome>> {
        self.names.iter().map(move |name| {
            let mut cells = self.context.granularities();
            cells.find(|cell| cell.clustering == *name && cell.clusters == Some(clusters))
        })
    }

    fn chart(&self, measure: &Measure) -> Chart {
        let context = self.context;
        let series = self.names.iter().enumerate().map(|(place, name)| {
            let share = (place as f64 + 0.5) / self.names.len() as f64;
            let offset = (share - 0.5) * COLUMN_SHARE;
            let point = |(column, clusters): (usize, &u32)| {
                let cell = self.networks(*clusters).nth(place)??;
                let score = context.score(cell, &measure.key)?;
                Some(end_point(
                    context,
                    cell,
                    measure,
                    score,
                    column as f64 + offset,
                ))
            };
            Series {
                name: (*name).to_owned(),
                style: context.style(name),
                line: Line::Marks,
                points: self.shared.iter().enumerate().filter_map(point).collect(),
            }
        });
        let column = |clusters: &u32| format!("C = {}", format::count(u64::from(*clusters)));
        let columns = self.shared.iter().map(column).collect();
        let level = context.unconditional().and_then(|cell| {
            Some(Level {
                name: cell.label.clone(),
                style: Some(context.style(&cell.clustering)),
                y: context.score(cell, &measure.key)?.mean,
            })
        });
        let x = Axis::columns("number of clusters", columns);
        Chart {
            levels: level.into_iter().collect(),
            ..Chart::new(x, measure.axis(), series)
        }
    }

    /// One row per C, one column per clustering.
    fn table(&self, measure: &Measure) -> Table {
        let heads = std::iter::once("#C".to_owned());
        Table {
            name: "methods-table",
            heads: heads
                .chain(self.names.iter().map(|name| format!("#{name}")))
                .collect(),
            rows: self
                .shared
                .iter()
                .map(|clusters| self.row(measure, *clusters))
                .collect(),
        }
    }

    fn row(&self, measure: &Measure, clusters: u32) -> Vec<Markup> {
        let context = self.context;
        let objective = |cell: &'a CellOutcome| {
            let score = context.score(cell, &measure.key)?;
            measure.objective(score.mean)
        };
        let found = || self.networks(clusters).flatten();
        let best = found().filter_map(objective).min_by(f64::total_cmp);
        let cell = |cell: Option<&'a CellOutcome>| -> Markup {
            let Some(cell) = cell else {
                return html! { span.quiet { "not asked for" } };
            };
            let Some(score) = context.score(cell, &measure.key) else {
                return optional(None, &context.why_missing(cell, &measure.key));
            };
            let text = format::spread(score.mean, score.std);
            html! { @if objective(cell) == best { strong { (text) } } @else { (text) } }
        };
        std::iter::once(html! { (format::count(u64::from(clusters))) })
            .chain(self.networks(clusters).map(cell))
            .collect()
    }
}

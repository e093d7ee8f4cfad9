//! What the scores of this sweep mean.

use crate::{
    context::ReportContext,
    measure::Measure,
    section::{Section, Table},
};
use cedm_catalogue::metrics::Metric;
use maud::{Markup, html};

/// One row per metric, whatever the number of feature spaces.
pub fn section(context: &ReportContext) -> Section {
    let row = |metric: &Metric| -> Vec<Markup> {
        vec![
            html! { (metric.title) " (" (metric.short) ")" },
            html! { (metric.direction.words()) },
            html! { (metric.against.words()) },
            html! { (metric.definition) },
            html! { (metric.samples) },
            html! { (metric.literature) },
        ]
    };
    let metrics = Measure::metrics(context.measures());
    let table = Table {
        name: "definitions-table",
        heads: [
            "score",
            "direction",
            "compared with",
            "definition",
            "sample counts in the literature",
            "defined in",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: metrics.into_iter().map(row).collect(),
    };
    Section {
        id: "definitions",
        title: "What the scores mean",
        body: table.markup(),
    }
}

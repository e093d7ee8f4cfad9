//! Every score in one table, and what each score means.

use super::scores::scored_cells;
use crate::{
    facts::Facts,
    section::{Section, Table, optional},
    words,
};
use maud::{Markup, html};

/// Networks down, scores across.
pub fn section(facts: &Facts) -> Option<Section> {
    let measures = facts.measures();
    let mut heads = vec![
        "network".to_owned(),
        "#C".to_owned(),
        "#U".to_owned(),
        "#r_C".to_owned(),
        "#training images".to_owned(),
    ];
    heads.extend(
        measures
            .iter()
            .map(|measure| format!("#{}", measure.head())),
    );
    heads.push("samples".to_owned());
    let row = |cell: &cedm_sweep::outcome::CellOutcome| -> Vec<Markup> {
        let whole = |value: Option<u32>| html! { @match value { Some(value) => (words::count(value.into())), None => span.quiet { "–" } } };
        let best = facts
            .outcome
            .answer
            .as_ref()
            .is_some_and(|answer| answer.best == cell.label);
        let nimg = crate::facts::end(cell).map_or(0, |snapshot| snapshot.nimg);
        let mut row = vec![
            html! { @if best { strong { (cell.label) } } @else { (cell.label) } },
            whole(cell.clusters),
            whole(cell.used),
            html! { @match cell.utilisation { Some(value) => (format!("{value:.3}")), None => span.quiet { "–" } } },
            html! { (words::images(nimg)) },
        ];
        let mut counts: Vec<String> = Vec::new();
        for measure in &measures {
            row.push(match facts.score(cell, &measure.key) {
                Some(score) => {
                    let count = facts.sample_counts(score);
                    let values: Vec<String> = score
                        .values
                        .iter()
                        .map(|(_, value)| words::number(*value))
                        .collect();
                    let tip = format!("sets: {}; {count}", values.join(", "));
                    if !counts.contains(&count) {
                        counts.push(count);
                    }
                    html! { span title=(tip) { (words::spread(score.mean, score.std)) } }
                }
                None => match facts.not_asked(cell, measure) {
                    Some(reason) => words::inapplicable(reason),
                    None => optional(None, &facts.why_missing(cell, &measure.key)),
                },
            });
        }
        row.push(html! { span.quiet { (counts.join("; ")) } });
        row
    };
    let table = Table {
        name: "scores-table",
        heads,
        rows: scored_cells(facts).map(row).collect(),
    };
    let body = html! {
        p { "Mean ± standard deviation over the sample sets at the end of training; hover a \
            number for the value of each set." }
        (table.markup())
    };
    Some(Section {
        id: "table",
        title: "All scores",
        body,
    })
}

/// What the scores of this sweep mean.
pub fn definitions(facts: &Facts) -> Option<Section> {
    let mut seen = Vec::new();
    for measure in facts.measures() {
        if !seen
            .iter()
            .any(|found: &crate::facts::Measure| found.metric.name == measure.metric.name)
        {
            seen.push(measure);
        }
    }
    let row = |measure: &crate::facts::Measure| {
        let metric = measure.metric;
        vec![
            html! { (metric.title) " (" (metric.short) ")" },
            html! { (metric.direction.words()) },
            html! { (metric.against.words()) },
            html! { (metric.definition) },
            html! { (metric.samples) },
            html! { (metric.literature) },
        ]
    };
    let heads = [
        "score",
        "direction",
        "against",
        "definition",
        "sample counts of the literature",
        "defined in",
    ]
    .map(str::to_owned)
    .to_vec();
    let table = Table {
        name: "definitions-table",
        heads,
        rows: seen.iter().map(row).collect(),
    };
    Some(Section {
        id: "definitions",
        title: "What the scores mean",
        body: table.markup(),
    })
}

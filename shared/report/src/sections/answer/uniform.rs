//! Labels drawn uniformly instead of from p(c) (paper, table 6).

use crate::{context::ReportContext, format, section::Table};
use cedm_sweep::outcome::{Answer, UniformEffect};
use maud::{Markup, html};

/// One row per network, two columns per measure: both scores, and the change.
pub fn markup(context: &ReportContext, answer: &Answer) -> Markup {
    let Some(first) = answer.uniform.first() else {
        return html! {};
    };
    html! {
        h3 { "Uniform labels instead of p(c)" }
        (table(context, &answer.uniform).markup())
        p.note { "The same seeds sampled twice, " (first.sets) " × " (format::count(first.images)) " images each way: labels from p(c), then every label equally often." }
    }
}

fn table(context: &ReportContext, effects: &[UniformEffect]) -> Table {
    let (mut measures, mut networks): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for one in effects {
        if !measures.contains(&one.metric.as_str()) {
            measures.push(&one.metric);
        }
        if !networks.contains(&one.cell.as_str()) {
            networks.push(&one.cell);
        }
    }
    measures.sort_unstable();
    let row = |network: &&str| -> Vec<Markup> {
        let found = |measure: &&str| {
            let mut all = effects.iter();
            all.find(|one| one.cell == *network && one.metric == *measure)
        };
        let pairs = measures.iter().map(|measure| pair(context, found(measure)));
        std::iter::once(html! { (network) })
            .chain(pairs.flatten())
            .collect()
    };
    let heads = measures.iter().flat_map(|measure| {
        let title = context.title_of(measure);
        [format!("#{title}: p(c) → uniform"), "#change".to_owned()]
    });
    Table {
        name: "uniform-table",
        heads: std::iter::once("network".to_owned()).chain(heads).collect(),
        rows: networks.iter().map(row).collect(),
    }
}

/// Both scores, and the change in the colour of better or worse.
fn pair(context: &ReportContext, effect: Option<&UniformEffect>) -> [Markup; 2] {
    let Some(one) = effect else {
        let reason = "one of the two kinds of sets has no score";
        return [format::missing(reason), html! {}];
    };
    let objective = |score| context.objective(&one.metric, score);
    let class = match objective(one.uniform).zip(objective(one.prior)) {
        Some((uniform, prior)) if uniform > prior => "worse",
        Some(_) => "better",
        None => "",
    };
    let sets = format!("{} × {} images", one.sets, format::count(one.images));
    [
        html! { (format::number(one.prior)) " → " (format::number(one.uniform)) },
        html! { span class=(class) title=(sets) { (format::signed(one.increase)) } },
    ]
}

//! FID against FDD: whether feature spaces order the networks alike (paper, figure 6).

use super::scores::against_score;
use crate::{
    context::ReportContext,
    section::{Section, figure},
};
use maud::html;

/// The primary score of each further feature space against that of the first.
pub fn section(context: &ReportContext) -> Option<Section> {
    let mut primaries = context.primaries();
    let first = primaries.next()?;
    let charts: Vec<_> = primaries
        .map(|other| (against_score(context, first, other), other))
        .collect();
    if charts.iter().all(|(chart, _)| chart.is_empty()) {
        return None;
    }
    let body = html! {
        @for (chart, other) in &charts {
            (figure(chart, &format!(
                "{} against {}, one mark per network at the end of training. Where both order the \
                 networks alike, the marks rise from one corner to the other. Bars: standard \
                 deviation over the sample sets, {}.",
                other.title, first.title, context.counts_of(&other.key))))
        }
    };
    Some(Section {
        id: "spaces",
        title: "Feature spaces against each other",
        body,
    })
}

//! `granularities.csv`: which granularities may be the best.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::{Answer, Granularity};

type Row<'a> = (&'a Answer, &'a Granularity);

pub fn file(context: &ReportContext) -> Attachment {
    let answers = context.outcome.answer.iter();
    let rows = answers.flat_map(|answer| answer.granularities.iter().map(move |one| (answer, one)));
    table(
        "granularities.csv",
        &[
            ("score", |(answer, _): &Row| answer.metric.clone()),
            ("network", |(_, one)| one.label.clone()),
            ("clustering", |(_, one)| one.clustering.clone()),
            ("C", |(_, one)| one.clusters.to_string()),
            ("mean", |(_, one)| one.mean.to_string()),
            ("trainings", |(_, one)| one.trainings.to_string()),
            ("may_be_best", |(_, one)| one.may_be_best.to_string()),
            ("probability", |(_, one)| optional(one.probability)),
            ("behind_from", |(_, one)| {
                optional(one.behind.map(|(from, _)| from))
            }),
            ("behind_to", |(_, one)| {
                optional(one.behind.map(|(_, to)| to))
            }),
        ],
        rows,
    )
}

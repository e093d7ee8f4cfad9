//! `comparisons.csv`: the best network against the others.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::{Answer, Comparison};

type Row<'a> = (&'a Answer, &'a Comparison);

pub fn file(context: &ReportContext) -> Attachment {
    let answers = context.outcome.answer.iter();
    let rows = answers.flat_map(|answer| answer.comparisons.iter().map(move |one| (answer, one)));
    table(
        "comparisons.csv",
        &[
            ("score", |(answer, _): &Row| answer.metric.clone()),
            ("best", |(answer, _)| answer.best.clone()),
            ("best_mean", |(answer, _)| answer.score.mean.to_string()),
            ("with", |(_, other)| other.with.clone()),
            ("mean", |(_, other)| other.other.to_string()),
            ("relative", |(_, other)| other.relative.to_string()),
            ("better", |(_, other)| other.better.to_string()),
            ("ahead_from", |(_, other)| {
                optional(other.ahead.map(|(from, _)| from))
            }),
            ("ahead_to", |(_, other)| {
                optional(other.ahead.map(|(_, to)| to))
            }),
            ("sets", |(_, other)| other.sets.to_string()),
            ("images_per_set", |(_, other)| other.images.to_string()),
        ],
        rows,
    )
}

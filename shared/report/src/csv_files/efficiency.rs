//! `efficiency.csv`: training images to beat the unconditional network.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::{Answer, Efficiency};

type Row<'a> = (&'a Answer, &'a Efficiency);

pub fn file(context: &ReportContext) -> Attachment {
    let answers = context.outcome.answer.iter();
    let rows = answers.flat_map(|answer| answer.efficiency.iter().map(move |one| (answer, one)));
    table(
        "efficiency.csv",
        &[
            ("score", |(answer, _): &Row| answer.metric.clone()),
            ("network", |(_, one)| one.cell.clone()),
            ("training_images", |(_, one)| optional(one.nimg)),
            ("crossing_training_images", |(_, one)| {
                optional(one.crossing_nimg)
            }),
            ("unconditional_best_training_images", |(_, one)| {
                one.unconditional_nimg.to_string()
            }),
            ("ratio", |(_, one)| optional(one.ratio)),
            ("images_per_snapshot", |(_, one)| one.images.to_string()),
        ],
        rows,
    )
}

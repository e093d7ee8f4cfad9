//! `metrics.csv`: the definitions of the scores of this sweep.

use super::table;
use crate::{Attachment, context::ReportContext, measure::Measure};
use cedm_catalogue::metrics::Metric;

pub fn file(context: &ReportContext) -> Attachment {
    table(
        "metrics.csv",
        &[
            ("metric", |one: &&Metric| one.name.to_owned()),
            ("title", |one| one.title.to_owned()),
            ("direction", |one| one.direction.words()),
            ("against", |one| one.against.words().to_owned()),
            ("definition", |one| one.definition.to_owned()),
            ("unit", |one| one.unit.to_owned()),
            ("sample_counts", |one| one.samples.to_owned()),
            ("defined_in", |one| one.literature.to_owned()),
        ],
        Measure::metrics(context.measures()),
    )
}

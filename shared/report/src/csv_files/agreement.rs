//! `agreement.csv`: which granularity other feature spaces name.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::Agreement;

pub fn file(context: &ReportContext) -> Attachment {
    let answers = context.outcome.answer.iter();
    table(
        "agreement.csv",
        &[
            ("score", |one: &&Agreement| one.metric.clone()),
            ("best", |one| one.best.clone()),
            ("C", |one| one.clusters.to_string()),
            ("same", |one| one.same.to_string()),
            ("within_bound", |one| optional(one.within_bound)),
            ("kendall_tau", |one| optional(one.tau)),
            ("networks", |one| one.networks.to_string()),
        ],
        answers.flat_map(|answer| &answer.agreement),
    )
}

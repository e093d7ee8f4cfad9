//! `uniform.csv`: labels drawn uniformly against labels drawn from p(c).

use super::table;
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::UniformEffect;

pub fn file(context: &ReportContext) -> Attachment {
    let answers = context.outcome.answer.iter();
    table(
        "uniform.csv",
        &[
            ("network", |one: &&UniformEffect| one.cell.clone()),
            ("score", |one| one.metric.clone()),
            ("prior", |one| one.prior.to_string()),
            ("uniform", |one| one.uniform.to_string()),
            ("increase", |one| one.increase.to_string()),
            ("sets", |one| one.sets.to_string()),
            ("images_per_set", |one| one.images.to_string()),
        ],
        answers.flat_map(|answer| &answer.uniform),
    )
}

//! `missing.csv`: what was asked for and is not there.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::Missing;

pub fn file(context: &ReportContext) -> Attachment {
    table(
        "missing.csv",
        &[
            ("what", |one: &&Missing| one.what.clone()),
            ("reason", |one| one.reason.clone()),
            ("key", |one| optional(one.key.as_ref())),
            ("pending", |one| one.pending.to_string()),
        ],
        &context.outcome.missing,
    )
}

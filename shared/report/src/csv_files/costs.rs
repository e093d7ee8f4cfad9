//! `costs.csv`: what the jobs of each kind cost.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::KindCost;

pub fn file(context: &ReportContext) -> Attachment {
    table(
        "costs.csv",
        &[
            ("kind", |cost: &&KindCost| cost.kind.to_string()),
            ("jobs", |cost| cost.jobs.to_string()),
            ("reused", |cost| cost.cached.to_string()),
            ("compute_s", |cost| cost.compute_s.to_string()),
            ("mean_wait_s", |cost| optional(cost.mean_wait_s)),
        ],
        &context.outcome.costs,
    )
}

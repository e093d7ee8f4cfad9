//! `clusterings.csv`: every clustering with its sizes and its agreement with labels.

use super::{optional, table};
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::ClusteringOutcome;

pub fn file(context: &ReportContext) -> Attachment {
    table(
        "clusterings.csv",
        &[
            ("clustering", |row: &&ClusteringOutcome| row.name.clone()),
            ("method", |row| row.method.clone()),
            ("C", |row| row.clusters.to_string()),
            ("seed", |row| row.seed.to_string()),
            ("lower_bound", |row| row.lower_bound.to_string()),
            ("trained", |row| row.trained.to_string()),
            ("U", |row| row.result.used.to_string()),
            ("utilisation", |row| row.result.utilisation.to_string()),
            ("smallest", |row| row.result.smallest.to_string()),
            ("largest", |row| row.result.largest.to_string()),
            ("marginal_entropy", |row| {
                row.result.marginal_entropy.to_string()
            }),
            ("kl_uniform", |row| row.result.kl_uniform.to_string()),
            ("mean_confidence", |row| {
                optional(row.result.mean_confidence)
            }),
            ("neighbour_agreement", |row| {
                optional(row.result.neighbour_agreement)
            }),
            ("inertia", |row| optional(row.result.inertia)),
            ("nmi", |row| {
                optional(row.result.quality.as_ref().map(|quality| quality.nmi))
            }),
            ("anmi", |row| {
                optional(row.result.quality.as_ref().map(|quality| quality.anmi))
            }),
            ("ari", |row| {
                optional(row.result.quality.as_ref().map(|quality| quality.ari))
            }),
            ("acc", |row| {
                optional(row.result.quality.as_ref().map(|quality| quality.acc))
            }),
            ("digest", |row| row.artefact.digest.to_string()),
        ],
        &context.outcome.clusterings,
    )
}

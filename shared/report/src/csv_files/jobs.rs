//! `jobs.csv`: the lineage, every job with its inputs, times and software.

use super::table;
use crate::{Attachment, context::ReportContext};
use cedm_sweep::outcome::LineageNode;

pub fn file(context: &ReportContext) -> Attachment {
    table(
        "jobs.csv",
        &[
            ("job", |node: &&LineageNode| node.id.clone()),
            ("kind", |node| node.kind.to_string()),
            ("key", |node| node.key.to_string()),
            ("digest", |node| node.digest.to_string()),
            ("inputs", |node| inputs(node)),
            ("queued_ms", |node| node.timings.queued_ms.to_string()),
            ("started_ms", |node| node.timings.started_ms.to_string()),
            ("finished_ms", |node| node.timings.finished_ms.to_string()),
            ("compute_ms", |node| node.timings.compute_ms.to_string()),
            ("attempts", |node| node.attempts.to_string()),
            ("reused", |node| node.cached.to_string()),
            ("worker", |node| node.software.worker.clone()),
            ("device", |node| node.software.device.clone()),
            ("version", |node| node.software.version.clone()),
            ("revision", |node| node.software.revision.clone()),
        ],
        &context.outcome.lineage,
    )
}

/// `role=key` of every input, separated by spaces.
fn inputs(node: &LineageNode) -> String {
    let inputs = node.inputs.iter();
    let inputs: Vec<String> = inputs
        .map(|one| format!("{}={}", one.role, one.key))
        .collect();
    inputs.join(" ")
}

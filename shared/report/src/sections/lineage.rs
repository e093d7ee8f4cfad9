//! Where every number comes from: jobs, their inputs, versions, time and cost.

use crate::{
    context::ReportContext,
    format,
    section::{Section, Table},
};
use cedm_sweep::outcome::LineageNode;
use maud::html;
use std::collections::{BTreeMap, BTreeSet};

/// Costs by kind, and every job.
pub fn section(context: &ReportContext) -> Section {
    let outcome = context.outcome;
    let (jobs, cached) = outcome.costs.iter().fold((0, 0), |(jobs, cached), cost| {
        (jobs + cost.jobs, cached + cost.cached)
    });
    let compute: f64 = outcome.costs.iter().map(|cost| cost.compute_s).sum();
    let retried = outcome
        .lineage
        .iter()
        .filter(|node| node.attempts > 1 && !node.cached)
        .count() as u64;
    let versions: BTreeSet<String> = outcome.lineage.iter().map(version).collect();
    let devices: BTreeSet<&str> = outcome
        .lineage
        .iter()
        .map(|node| node.software.device.as_str())
        .filter(|device| !device.is_empty())
        .collect();
    let joined = |set: Vec<&str>| {
        if set.is_empty() {
            "not recorded".to_owned()
        } else {
            set.join(", ")
        }
    };
    let body = html! {
        p { (format::counted(jobs, "job")) ", " (format::count(cached)) " of them reused from \
            earlier sweeps; " (format::duration(compute)) " of computing"
            @if let Some(finished) = outcome.finished_ms { ", " (format::duration(finished.saturating_sub(outcome.submitted_ms) as f64 / 1000.0)) " from submission to the last job" }
            @if retried > 0 { "; " (format::counted(retried, "job")) " needed more than one attempt" } "." }
        p { "Made by " (joined(versions.iter().map(String::as_str).collect())) " on " (joined(devices.into_iter().collect())) "." }
        (costs(context).markup())
        details { summary { "Every job: key, digest, inputs, time" } (jobs_table(context).markup()) }
    };
    Section {
        id: "lineage",
        title: "Lineage and cost",
        body,
    }
}

fn version(node: &LineageNode) -> String {
    let (version, revision) = (&node.software.version, &node.software.revision);
    if revision.is_empty() {
        format!("cedm {version}")
    } else {
        format!("cedm {version} ({revision})")
    }
}

fn costs(context: &ReportContext) -> Table {
    let row = |cost: &cedm_sweep::outcome::KindCost| {
        let done = cost.jobs - cost.cached.min(cost.jobs);
        vec![
            html! { (cost.kind) },
            html! { (format::count(cost.jobs)) },
            html! { (format::count(cost.cached)) },
            html! { (format::duration(cost.compute_s)) },
            html! { @if done > 0 { (format::duration(cost.compute_s / done as f64)) } @else { span.quiet { "–" } } },
            html! { @match cost.mean_wait_s { Some(wait) => (format::duration(wait)), None => span.quiet { "–" } } },
        ]
    };
    Table {
        name: "costs-table",
        heads: [
            "kind of job",
            "#jobs",
            "#reused",
            "#compute",
            "#per job",
            "#mean wait in the queue",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: context.outcome.costs.iter().map(row).collect(),
    }
}

fn jobs_table(context: &ReportContext) -> Table {
    let names: BTreeMap<&str, &str> = context
        .outcome
        .lineage
        .iter()
        .map(|node| (node.key.as_str(), node.id.as_str()))
        .collect();
    let row = |node: &LineageNode| {
        let shards = node
            .inputs
            .iter()
            .filter(|input| input.role.starts_with("shard/"))
            .count() as u64;
        let inputs = node
            .inputs
            .iter()
            .filter(|input| !input.role.starts_with("shard/"));
        vec![
            html! { (node.id) },
            html! { (node.kind) },
            html! { code title=(node.key) { (node.key.short()) } },
            html! { code title=(node.digest) { (node.digest.short()) } },
            html! {
                @for (index, input) in inputs.enumerate() {
                    @if index > 0 { ", " } span title=(names.get(input.key.as_str()).copied().unwrap_or("a job outside this sweep")) { (input.role) " " code { (input.key.short()) } }
                }
                @if shards > 0 { " " (format::counted(shards, "shard")) }
            },
            html! { @if node.cached { "reused" } @else { (format::moment(node.timings.finished_ms)) } },
            html! { (format::duration(node.timings.compute_ms as f64 / 1000.0)) },
            html! { (format::count(node.attempts)) },
            html! { (node.software.worker) },
            html! { (version(node)) },
        ]
    };
    Table {
        name: "jobs-table",
        heads: [
            "job",
            "kind",
            "key",
            "digest",
            "inputs",
            "finished",
            "#compute",
            "#attempts",
            "worker",
            "version",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: context.outcome.lineage.iter().map(row).collect(),
    }
}

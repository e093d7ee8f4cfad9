//! Where every number comes from: jobs, their inputs, versions, time and cost.

use crate::{
    facts::Facts,
    section::{Section, Table},
    words,
};
use cedm_sweep::outcome::LineageNode;
use maud::html;
use std::collections::{BTreeMap, BTreeSet};

/// Costs by kind, and every job.
pub fn section(facts: &Facts) -> Section {
    let outcome = facts.outcome;
    let (jobs, cached) = outcome.costs.iter().fold((0, 0), |(jobs, cached), cost| {
        (jobs + cost.jobs, cached + cost.cached)
    });
    let compute: f64 = outcome.costs.iter().map(|cost| cost.compute_s).sum();
    let again = outcome
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
        p { (words::counted(jobs, "job")) ", " (words::count(cached)) " of them reused from \
            earlier work; " (words::duration(compute)) " of compute"
            @if let Some(finished) = outcome.finished_ms { ", " (words::duration(finished.saturating_sub(outcome.submitted_ms) as f64 / 1000.0)) " from submission to the last job" }
            @if again > 0 { "; " (words::counted(again, "job")) " needed more than one attempt" } "." }
        p { "Made by " (joined(versions.iter().map(String::as_str).collect())) " on " (joined(devices.into_iter().collect())) "." }
        (costs(facts).markup())
        details { summary { "Every job: key, digest, inputs, time" } (jobs_table(facts).markup()) }
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

fn costs(facts: &Facts) -> Table {
    let row = |cost: &cedm_sweep::outcome::KindCost| {
        let done = cost.jobs - cost.cached.min(cost.jobs);
        vec![
            html! { (cost.kind) },
            html! { (words::count(cost.jobs)) },
            html! { (words::count(cost.cached)) },
            html! { (words::duration(cost.compute_s)) },
            html! { @if done > 0 { (words::duration(cost.compute_s / done as f64)) } @else { span.quiet { "–" } } },
            html! { @match cost.mean_wait_s { Some(wait) => (words::duration(wait)), None => span.quiet { "–" } } },
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
        rows: facts.outcome.costs.iter().map(row).collect(),
    }
}

fn jobs_table(facts: &Facts) -> Table {
    let names: BTreeMap<&str, &str> = facts
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
                @if shards > 0 { " " (words::counted(shards, "shard")) }
            },
            html! { @if node.cached { "reused" } @else { (words::moment(node.timings.finished_ms)) } },
            html! { (words::duration(node.timings.compute_ms as f64 / 1000.0)) },
            html! { (words::count(node.attempts)) },
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
        rows: facts.outcome.lineage.iter().map(row).collect(),
    }
}

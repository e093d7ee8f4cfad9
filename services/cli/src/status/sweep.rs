//! `cedm status SWEEP`: networks and scores, jobs by kind, and what failed, by cause.

use super::row;
use crate::{
    args::Output,
    render,
    sweeps::{Entry, Reader, View, left},
};
use anyhow::Result;
use cedm_contract::Kind;
use cedm_planner::{Node, State, distinct};
use cedm_runtime::Connection;
use cedm_terminal::{outjson, outln};
use serde_json::json;
use std::collections::BTreeMap;

/// Prints the state of one sweep; with `jobs` a row for each of its jobs.
pub(super) async fn print(
    connection: &Connection,
    reader: &mut Reader,
    sweep: &str,
    jobs: bool,
    output: Output,
) -> Result<()> {
    let entry = reader.entry(&sweep.parse()?).await?;
    if output == Output::Json {
        outjson!(match &entry {
            Entry::Readable(view) => {
                json!({"state": entry.phase(), "outcome": view.outcome, "cancelled": view.marks.cancelled, "plan": view.jobs,
                    "causes": view.causes()})
            }
            Entry::Unreadable(_) => row(&entry),
        });
        return Ok(());
    }
    for line in entry.summary_lines() {
        outln!("{line}");
    }
    if let Some(view) = entry.view()
        && let Some(left) = view.time_left(connection).await?
    {
        outln!("{}", left::sentence(&left));
    }
    let Some(view) = entry.view() else {
        return Ok(());
    };
    print_networks(view);
    if jobs {
        print_jobs(view);
    } else {
        print_kinds(view);
    }
    for cause in view.causes() {
        cause.lines().iter().for_each(|line| outln!("{line}"));
    }
    Ok(())
}

fn print_networks(view: &View) {
    let mut table = render::table(&["network", "used", "utilisation", "score", "after"]);
    for cell in &view.outcome.cells {
        let last = cell
            .snapshots
            .iter()
            .rev()
            .find(|snapshot| !snapshot.summary.is_empty());
        let score = last.and_then(|snapshot| view.primary(&snapshot.summary));
        let score = score.map_or("—".to_owned(), |summary| match summary.std {
            Some(std) => format!("{:.3} ± {std:.3}", summary.mean),
            None => format!("{:.3}", summary.mean),
        });
        table.add_row([
            cell.label.clone(),
            cell.used.map_or("—".to_owned(), |used| used.to_string()),
            cell.utilisation.map_or("—".to_owned(), |utilisation| {
                format!("{:.1} %", utilisation * 100.0)
            }),
            score,
            last.map_or("—".to_owned(), |snapshot| {
                format!("{:.1} kimg", snapshot.nimg as f64 / 1000.0)
            }),
        ]);
    }
    if !view.outcome.cells.is_empty() {
        table.print();
    }
}

/// The state of a job in a word.
fn word(state: &State) -> &'static str {
    match state {
        State::Done { cached: true, .. } => "reused",
        State::Done { cached: false, .. } => "done",
        State::Ready => "queued or running",
        State::Waiting { .. } => "waiting",
        State::Dead { .. } => "dead",
        State::Blocked { .. } => "blocked",
    }
}

/// The jobs of the sweep, each once; the report is the coordinator's.
fn jobs(view: &View) -> impl Iterator<Item = &Node> {
    distinct(&view.jobs).filter(|node| node.kind != Kind::Report)
}

fn print_kinds(view: &View) {
    let mut counts: BTreeMap<Kind, BTreeMap<&str, u64>> = BTreeMap::new();
    for node in jobs(view) {
        *counts
            .entry(node.kind)
            .or_default()
            .entry(word(&node.state))
            .or_default() += 1;
    }
    const WORDS: [&str; 6] = [
        "done",
        "reused",
        "queued or running",
        "waiting",
        "dead",
        "blocked",
    ];
    let shown: Vec<&str> = WORDS
        .into_iter()
        .filter(|word| counts.values().any(|of_kind| of_kind.contains_key(word)))
        .collect();
    let mut table = render::table(&[&["kind"], &shown[..]].concat());
    for (kind, of_kind) in &counts {
        let cells = shown.iter().map(|word| match of_kind.get(word) {
            Some(count) => count.to_string(),
            None => String::new(),
        });
        table.add_row(std::iter::once(kind.to_string()).chain(cells));
    }
    table.print();
}

fn print_jobs(view: &View) {
    let mut table = render::table(&["job", "state", "key"]);
    for node in jobs(view) {
        let key = node.job.as_ref().map_or("", |job| job.key.short());
        table.add_row([node.id.as_str(), word(&node.state), key]);
    }
    table.print();
}

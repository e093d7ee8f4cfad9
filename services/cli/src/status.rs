//! `cedm status`: the state of sweeps, queues and workers.

use crate::{args::Output, client, render, sweeps::Reader};
use anyhow::Result;
use cedm_contract::{Heartbeat, Service};
use cedm_runtime::{Connection, DeadLetters, Submitter, workers};
use cedm_sweep::outcome::SweepState;
use cedm_terminal::{outjson, outln};
use clap::Args;
use serde_json::json;

/// Options of `cedm status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Show one sweep only, with its networks and scores
    pub sweep: Option<String>,
}

/// Prints the state of one sweep, or of the whole system.
///
/// # Errors
/// When the sweep is unknown or the system does not answer.
pub fn run(args: &StatusArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let mut reader = Reader::new(&connection);
        match &args.sweep {
            Some(sweep) => print_sweep(&mut reader, sweep, output).await,
            None => print_system(&connection, &mut reader, output).await,
        }
    })
}

async fn print_sweep(reader: &mut Reader, sweep: &str, output: Output) -> Result<()> {
    let view = reader.view(&sweep.parse()?).await?;
    if output == Output::Json {
        outjson!(json!({"outcome": view.outcome, "cancelled": view.cancelled, "plan": view.jobs}));
        return Ok(());
    }
    for line in view.summary_lines() {
        outln!("{line}");
    }
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
    for missing in view
        .outcome
        .missing
        .iter()
        .filter(|missing| !missing.pending)
    {
        outln!("missing {}: {}", missing.what, missing.reason);
    }
    Ok(())
}

async fn print_system(connection: &Connection, reader: &mut Reader, output: Output) -> Result<()> {
    let mut views = Vec::new();
    for sweep in reader.all().await? {
        views.push(reader.view(&sweep).await?);
    }
    let alive = workers(connection).await?;
    let dead = DeadLetters::new(connection).count().await?;
    let queued = Submitter::new(connection).outstanding(None).await?.len();
    if output == Output::Json {
        let sweeps: Vec<_> = views
            .iter()
            .map(|view| {
                json!({"sweep": view.sweep.id, "state": view.outcome.state, "cancelled": view.cancelled, "jobs": view.outcome.jobs,
                    "submitted_ms": view.sweep.submitted_ms, "headline": view.outcome.answer.as_ref().map(|answer| &answer.headline)})
            })
            .collect();
        outjson!(json!({"sweeps": sweeps, "workers": alive, "dead": dead, "outstanding": queued}));
        return Ok(());
    }
    if views.is_empty() {
        outln!("no sweep has been submitted yet");
    } else {
        let mut table = render::table(&["sweep", "state", "jobs", "submitted", "answer"]);
        for view in &views {
            let jobs = &view.outcome.jobs;
            let total = jobs.done + jobs.ready + jobs.waiting + jobs.dead + jobs.blocked;
            let state = match view.outcome.state {
                _ if view.cancelled => "cancelled",
                SweepState::Running => "running",
                SweepState::Complete => "complete",
                SweepState::Incomplete => "incomplete",
            };
            let answer = view
                .outcome
                .answer
                .as_ref()
                .map_or("", |answer| answer.headline.as_str());
            table.add_row([
                view.sweep.id.as_str(),
                state,
                &format!("{}/{total}", jobs.done),
                &format!("{} ago", render::since(view.sweep.submitted_ms)),
                answer,
            ]);
        }
        table.print();
    }
    outln!();
    print_workers(&alive);
    outln!();
    outln!("{queued} jobs queued or running, {dead} dead");
    Ok(())
}

fn print_workers(alive: &[Heartbeat]) {
    let mut table = render::table(&["worker", "service", "process", "job", "since"]);
    for worker in alive {
        let job = match (&worker.job, worker.kind) {
            (Some(key), Some(kind)) if worker.total > 0 => {
                format!(
                    "{kind} {}: {}/{} {}",
                    key.short(),
                    worker.done,
                    worker.total,
                    worker.unit
                )
            }
            (Some(key), Some(kind)) => format!("{kind} {}", key.short()),
            _ => "idle".to_owned(),
        };
        let since = if worker.job.is_some() {
            render::since(worker.since_ms)
        } else {
            String::new()
        };
        table.add_row([
            worker.worker.as_str(),
            &worker.service,
            &format!("{} on {}", worker.pid, worker.host),
            &job,
            &since,
        ]);
    }
    if !alive.is_empty() {
        table.print();
    }
    let absent: Vec<&str> = Service::RUNNING
        .iter()
        .map(|service| service.name())
        .filter(|name| alive.iter().all(|worker| worker.service != *name))
        .collect();
    if !absent.is_empty() {
        outln!("no heartbeat from: {}", absent.join(", "));
    }
}

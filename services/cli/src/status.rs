//! `cedm status`: the state of sweeps, queues and workers.

mod sweep;

use crate::{
    args::Output,
    client, fleet, render,
    sweeps::{Entry, Reader},
};
use anyhow::Result;
use cedm_contract::Heartbeat;
use cedm_runtime::{Connection, DeadLetters, Submitter, clock_skew_ms, delays, workers};
use cedm_terminal::{outjson, outln};
use clap::Args;
use serde_json::{Value, json};

/// Options of `cedm status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Show one sweep only: its networks with their scores, its jobs by kind, and what failed
    pub sweep: Option<String>,
    /// List every job of the sweep with its state and key
    #[arg(long, requires = "sweep")]
    pub jobs: bool,
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
            Some(sweep) => sweep::print(&connection, &mut reader, sweep, args.jobs, output).await,
            None => print_system(&connection, &mut reader, output).await,
        }
    })
}

/// A sweep as a row of the JSON list.
fn row(entry: &Entry) -> Value {
    match entry {
        Entry::Readable(view) => {
            json!({"sweep": view.sweep.id, "state": view.phase(), "cancelled": view.marks.cancelled, "jobs": view.outcome.jobs,
                "submitted_ms": view.sweep.submitted_ms, "headline": view.outcome.answer.as_ref().map(|answer| &answer.headline)})
        }
        Entry::Unreadable(unreadable) => {
            json!({"sweep": unreadable.id, "state": unreadable.phase(), "cancelled": unreadable.marks.cancelled, "reason": unreadable.reason})
        }
    }
}

fn print_sweeps(entries: &[Entry]) {
    let mut table = render::table(&["sweep", "state", "jobs", "submitted", "answer"]);
    for entry in entries {
        let state = entry.phase().to_string();
        match entry {
            Entry::Readable(view) => table.add_row([
                view.sweep.id.as_str(),
                &state,
                &format!("{}/{}", view.outcome.jobs.done, view.total()),
                &format!("{} ago", render::since(view.sweep.submitted_ms)),
                view.outcome
                    .answer
                    .as_ref()
                    .map_or("", |answer| answer.headline.as_str()),
            ]),
            Entry::Unreadable(unreadable) => table.add_row([
                unreadable.id.as_str(),
                &state,
                "",
                "",
                &format!("cannot be read: {}", unreadable.reason),
            ]),
        };
    }
    table.print();
}

async fn print_system(connection: &Connection, reader: &mut Reader, output: Output) -> Result<()> {
    let entries = reader.entries().await?;
    let alive = workers(connection).await?;
    let dead = DeadLetters::new(connection).count().await?;
    let queued = Submitter::new(connection).outstanding(None).await?.len();
    let delays = delays(connection).await?;
    let skew_ms = clock_skew_ms(connection).await?;
    if output == Output::Json {
        let sweeps: Vec<Value> = entries.iter().map(row).collect();
        outjson!(
            json!({"sweeps": sweeps, "workers": alive, "dead": dead, "outstanding": queued, "clock_skew_ms": skew_ms,
                "delayed": delays.jobs, "oldest_delay_s": delays.oldest.map(|age| age.as_secs())})
        );
        return Ok(());
    }
    if entries.is_empty() {
        outln!("no sweep has been submitted yet");
    } else {
        print_sweeps(&entries);
    }
    outln!();
    print_workers(&alive);
    for warning in fleet::clock_warnings(&alive, skew_ms) {
        outln!("{warning}");
    }
    outln!();
    let delayed = match (delays.jobs.values().sum::<u64>(), delays.oldest) {
        (jobs @ 1.., Some(age)) => {
            let oldest = render::duration(age);
            format!(" ({jobs} of them wait for another try, the oldest for {oldest})")
        }
        _ => String::new(),
    };
    outln!("{queued} jobs queued or running{delayed}, {dead} dead");
    Ok(())
}

fn print_workers(alive: &[Heartbeat]) {
    let mut table = render::table(&["worker", "service", "device", "process", "job", "since"]);
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
            &worker.device,
            &format!("{} on {}", worker.pid, worker.host),
            &job,
            &since,
        ]);
    }
    if !alive.is_empty() {
        table.print();
    }
    let absent = fleet::absent(alive);
    if !absent.is_empty() {
        outln!("no heartbeat from: {}", absent.join(", "));
    }
}

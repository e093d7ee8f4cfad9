//! `cedm top`: what every worker does now, how fast, and in how much memory.

use crate::{args::Output, client, fleet, render, watch::rate::RateEstimate};
use anyhow::Result;
use cedm_contract::{Heartbeat, JobKey};
use cedm_runtime::{Connection, VERSION, now_ms, workers};
use cedm_terminal::{outjson, outtext, printable};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

/// Time between two refreshes of the table.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// Options of `cedm top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Look twice, print once and end; so it does too where the output is no terminal
    #[arg(long)]
    pub once: bool,
}

/// Shows the workers until it is interrupted.
///
/// # Errors
/// When NATS does not answer.
pub fn run(args: &TopArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let is_live = !args.once && output == Output::Text && std::io::stdout().is_terminal();
        let style = ProgressStyle::with_template("{msg}");
        let style = style.expect("invariant: the template is valid");
        let screen = ProgressBar::new_spinner().with_style(style);
        let mut rates = Rates::default();
        rates.look(&connection).await?;
        loop {
            tokio::time::sleep(REFRESH_INTERVAL).await;
            let alive = rates.look(&connection).await?;
            if output == Output::Json {
                let rows = alive.iter().map(|worker| row(worker, rates.of(worker)));
                outjson!(Value::Array(rows.collect()));
                return Ok(());
            }
            let text = lines(&alive, &rates);
            if !is_live {
                outtext!("{text}");
                return Ok(());
            }
            screen.set_message(text);
            screen.tick();
        }
    })
}

/// The rates of the running jobs, by worker.
#[derive(Default)]
struct Rates(BTreeMap<String, (JobKey, RateEstimate)>);

impl Rates {
    /// Reads the heartbeats and records their progress.
    async fn look(&mut self, connection: &Connection) -> Result<Vec<Heartbeat>> {
        let (alive, now) = (workers(connection).await?, now_ms());
        let before = std::mem::take(&mut self.0);
        for worker in &alive {
            let Some(job) = &worker.job else { continue };
            let known = before.get(&worker.worker).filter(|(key, _)| key == job);
            let mut estimate = match known {
                Some((_, estimate)) => estimate.clone(),
                None => RateEstimate::starting_at(now, worker.done),
            };
            estimate.record(now, worker.done);
            self.0
                .insert(worker.worker.clone(), (job.clone(), estimate));
        }
        Ok(alive)
    }

    fn of(&self, worker: &Heartbeat) -> Option<f64> {
        self.0.get(&worker.worker)?.1.rate()
    }

    fn time_left(&self, worker: &Heartbeat) -> Option<Duration> {
        self.0.get(&worker.worker)?.1.time_left(worker.total)
    }
}

fn row(worker: &Heartbeat, rate: Option<f64>) -> Value {
    json!({"worker": worker.worker, "service": worker.service, "host": worker.host, "pid": worker.pid, "device": worker.device,
        "version": worker.version, "job": worker.job, "kind": worker.kind, "done": worker.done, "total": worker.total,
        "unit": worker.unit, "rate": rate, "since_ms": worker.since_ms, "resident_bytes": worker.resident_bytes,
        "clock_skew_ms": worker.clock_skew_ms})
}

fn lines(alive: &[Heartbeat], rates: &Rates) -> String {
    let mut table = render::table(&[
        "worker", "service", "device", "memory", "job", "progress", "rate", "left",
    ]);
    for worker in alive {
        let job = match (&worker.job, worker.kind) {
            (Some(key), Some(kind)) => {
                format!(
                    "{kind} {} for {}",
                    key.short(),
                    render::since(worker.since_ms)
                )
            }
            _ => "idle".to_owned(),
        };
        let progress = if worker.total > 0 {
            format!("{}/{} {}", worker.done, worker.total, worker.unit)
        } else {
            String::new()
        };
        let rate = rates.of(worker).map_or(String::new(), render::rate);
        let left = rates
            .time_left(worker)
            .map_or(String::new(), render::duration);
        let memory = worker.resident_bytes.map_or("—".to_owned(), render::bytes);
        table.add_row([
            worker.worker.as_str(),
            &worker.service,
            &worker.device,
            &memory,
            &job,
            &progress,
            &rate,
            &left,
        ]);
    }
    if alive.is_empty() {
        return "no worker is running".to_owned();
    }
    let busy = alive.iter().filter(|worker| worker.job.is_some()).count();
    let mut text = format!("{}\n{busy} of {} busy", table.text(), alive.len());
    for worker in fleet::of_other_versions(alive) {
        let sentence = format!(
            "{} is of version {}; this program is {VERSION}",
            worker.worker, worker.version
        );
        text.push('\n');
        text.push_str(&printable(&sentence));
    }
    text
}

//! `cedm watch`: follow a sweep until it ends, with the rate and remaining time of running jobs.

pub mod bars;
pub mod rate;
pub mod running;

use crate::{
    args::Output,
    client,
    sweeps::{Entry, Reader, View, left},
};
use anyhow::{Context, Result, bail};
use bars::Bars;
use cedm_contract::{Event, EventAttempt, EventWhat, JobKey, SweepId};
use cedm_runtime::{Connection, EventFilter, live_events, past_events};
use cedm_sweep::lifecycle::Phase;
use cedm_terminal::{outjson, outln};
use clap::Args;
use futures::StreamExt;
use running::{Change, RunningJobs};
use std::{
    collections::HashSet,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::time;

/// Options of `cedm watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Name of the sweep; needed only when several are running
    pub sweep: Option<String>,
    /// Print every event of every sweep, until interrupted
    #[arg(long, conflicts_with = "sweep")]
    pub follow: bool,
}

/// How often the sweep's state is read while no event comes: events may be missed while the
/// connection is down.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// How long after an event the sweep's state is read, so that a burst of events costs one read.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Most events remembered to suppress duplicates.
const SEEN_EVENTS_MAX: usize = 100_000;
/// How long broker and store may be unavailable before the command fails.
const OUTAGE_LIMIT: Duration = Duration::from_secs(120);

/// Follows a sweep to its end, which is the phase that `cedm status` shows. The exit code is
/// success for a complete sweep, failure for any other end: incomplete, damaged, cancelled,
/// unreadable.
///
/// # Errors
/// When the sweep is unknown, or the system is unavailable for two minutes.
pub fn run(args: &WatchArgs, output: Output) -> Result<ExitCode> {
    client::block_on(async {
        let connection = client::connect().await?;
        if args.follow {
            return follow_all(&connection, output).await;
        }
        let mut reader = Reader::new(&connection);
        let sweep = match &args.sweep {
            Some(sweep) => sweep.parse()?,
            None => only_running(&mut reader).await?,
        };
        match reader.entry(&sweep).await? {
            Entry::Readable(view) => Watcher::new(connection, reader, *view, output).run().await,
            Entry::Unreadable(unreadable) => bail!("{}", unreadable.sentence()),
        }
    })
}

async fn only_running(reader: &mut Reader) -> Result<SweepId> {
    let running = reader.in_phase(Phase::Running).await?;
    match running.as_slice() {
        [sweep] => Ok(sweep.clone()),
        [] => bail!("no sweep is running; `cedm status` lists them all"),
        several => {
            let names: Vec<&str> = several.iter().map(SweepId::as_str).collect();
            bail!(
                "{} sweeps are running: name one of {}",
                names.len(),
                names.join(", ")
            )
        }
    }
}

/// Prints every event once. Duplicates occur: stored and live events overlap, and a publication
/// whose acknowledgement was lost is repeated.
async fn follow_all(connection: &Connection, output: Output) -> Result<ExitCode> {
    let mut events = live_events(connection, &EventFilter::default()).await?;
    let mut seen = HashSet::new();
    for event in past_events(connection, &EventFilter::default()).await? {
        if seen.insert(identity(&event)) {
            print(&event, output);
        }
    }
    while let Some(event) = events.next().await {
        // Only recent events can be duplicated.
        if seen.len() > SEEN_EVENTS_MAX {
            seen.clear();
        }
        if seen.insert(identity(&event)) {
            print(&event, output);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What two copies of one event have in common.
type EventIdentity = (JobKey, EventWhat, Option<EventAttempt>, u64);

fn identity(event: &Event) -> EventIdentity {
    (event.key.clone(), event.what, event.attempt, event.at_ms)
}

fn print(event: &Event, output: Output) {
    match output {
        Output::Json => outjson!(
            serde_json::to_string(event)
                .expect("invariant: events are plain data and always encode")
        ),
        Output::Text => {
            let (done, total, unit) = (event.done, event.total, &event.unit);
            let progress = if event.what == EventWhat::Progress {
                format!(" {done}/{total} {unit}")
            } else {
                String::new()
            };
            outln!(
                "{:<10} {:<10} {}{progress} {}",
                event.what.to_string(),
                event.kind.to_string(),
                event.key.short(),
                event.message
            );
        }
    }
}

/// Whether an event shows that a job's result, read earlier, has been discarded since: the event
/// that says so, or the job's beginning anew.
fn says_there_is_no_result(event: &Event) -> bool {
    match event.what {
        EventWhat::Failed => event.attempt.is_none(),
        what => what == EventWhat::Started,
    }
}

struct Watcher {
    connection: Connection,
    reader: Reader,
    sweep: SweepId,
    output: Output,
    view: View,
    running: RunningJobs,
    bars: Bars,
    /// Events shown already: stored and live events overlap.
    seen: HashSet<EventIdentity>,
    unavailable_since: Option<Instant>,
}

impl Watcher {
    fn new(connection: Connection, reader: Reader, view: View, output: Output) -> Self {
        Self {
            connection,
            reader,
            bars: Bars::new(view.sweep.id.as_str()),
            sweep: view.sweep.id.clone(),
            output,
            view,
            running: RunningJobs::default(),
            seen: HashSet::new(),
            unavailable_since: None,
        }
    }

    async fn run(mut self) -> Result<ExitCode> {
        let mut live = live_events(&self.connection, &EventFilter::default()).await?;
        self.refresh().await?;
        for event in past_events(&self.connection, &EventFilter::default()).await? {
            if event.at_ms >= self.view.sweep.submitted_ms {
                self.apply(&event, true);
            }
        }
        let mut next_refresh = time::Instant::now();
        while !self.view.phase().is_over() {
            tokio::select! {
                event = live.next() => {
                    let event = event.context("the connection to the broker is closed")?;
                    if says_there_is_no_result(&event) {
                        self.reader.forget(&event.key);
                    }
                    if !self.view.contains(&event.key) {
                        self.refresh().await?; // perhaps a job that was planned only now
                    }
                    self.apply(&event, false);
                    if matches!(event.what, EventWhat::Done | EventWhat::Dead) {
                        next_refresh = next_refresh.min(time::Instant::now() + DEBOUNCE);
                    }
                }
                () = time::sleep_until(next_refresh) => {
                    self.refresh().await?;
                    next_refresh = time::Instant::now() + REFRESH_INTERVAL;
                }
            }
        }
        self.bars.clear();
        self.finish()
    }

    /// Reads the sweep's state; waits while the system is unavailable for a short time.
    async fn refresh(&mut self) -> Result<()> {
        match self.reader.view(&self.sweep).await {
            Ok(view) => {
                self.view = view;
                self.unavailable_since = None;
            }
            Err(error) => {
                let since = *self.unavailable_since.get_or_insert_with(Instant::now);
                if since.elapsed() > OUTAGE_LIMIT {
                    return Err(error.context("the system has been unavailable for two minutes"));
                }
                self.bars
                    .print(&format!("waiting for the system: {error:#}"));
            }
        }
        if self.output == Output::Text {
            let left = self.view.time_left(&self.connection).await.ok().flatten();
            let left = left.as_ref().map(left::sentence);
            self.bars
                .set_counts(&self.view.outcome.jobs, self.view.phase(), left);
        }
        Ok(())
    }

    /// Shows an event of this sweep; one that is `stored` changes the bars but prints no line.
    fn apply(&mut self, event: &Event, stored: bool) {
        let Some(label) = self.view.label(&event.key) else {
            return;
        };
        if !self.seen.insert(identity(event)) {
            return;
        }
        if self.output == Output::Json {
            print(event, self.output);
            return;
        }
        match self.running.apply(event) {
            Change::Started | Change::Advanced => {
                if let Some(job) = self.running.get(&event.key) {
                    self.bars.draw(&event.key, label, job);
                }
            }
            Change::Ended => self.bars.remove(&event.key),
            Change::None => {}
        }
        if !stored {
            self.bars.print_event(event, label);
        }
    }

    fn finish(self) -> Result<ExitCode> {
        let complete = self.view.phase() == Phase::Complete;
        if self.output == Output::Text {
            for line in self.view.summary_lines() {
                outln!("{line}");
            }
        }
        Ok(if complete {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

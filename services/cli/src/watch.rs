//! `cedm watch`: running jobs with rates and time left, until the sweep ends.

pub mod bars;
pub mod pace;
pub mod running;

use crate::{
    args::{Output, WatchArgs},
    client,
    sweeps::{Reader, View},
};
use anyhow::{Context, Result, bail};
use bars::Bars;
use cedm_contract::{Event, EventAttempt, EventWhat, JobKey, SweepId};
use cedm_runtime::{Connection, EventFilter, live_events, past_events};
use cedm_sweep::outcome::SweepState;
use futures::StreamExt;
use running::{Change, Running};
use std::{
    collections::HashSet,
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::time;

/// How often the sweep is looked at while nothing happens: an event may be missed while a
/// connection is down.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long after an event the sweep is looked at: a burst of events is one look.
const SETTLE: Duration = Duration::from_millis(200);
/// Events that are remembered, so that none is shown twice.
const REMEMBERED: usize = 100_000;
/// How long broker and store may be away.
const PATIENCE: Duration = Duration::from_secs(120);

/// Watches until the end; success for a complete sweep, failure for one that ended without all it
/// was asked for.
///
/// # Errors
/// When the sweep is unknown or the system is gone for two minutes.
pub fn run(args: &WatchArgs, output: Output) -> Result<ExitCode> {
    client::block_on(async {
        let connection = client::connect().await?;
        if args.follow {
            return everything(&connection, output).await;
        }
        let mut reader = Reader::new(&connection);
        let sweep = match &args.sweep {
            Some(sweep) => sweep.parse()?,
            None => only_running(&mut reader).await?,
        };
        Watcher::new(connection, reader, sweep, output)
            .await?
            .run()
            .await
    })
}

async fn only_running(reader: &mut Reader) -> Result<SweepId> {
    let running = reader.active().await?;
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

/// Prints every event as it comes, once: the past and the present overlap, and a publication whose
/// answer was lost is repeated.
async fn everything(connection: &Connection, output: Output) -> Result<ExitCode> {
    let mut events = live_events(connection, &EventFilter::default()).await?;
    let mut seen = HashSet::new();
    for event in past_events(connection, &EventFilter::default()).await? {
        if seen.insert(identity(&event)) {
            print(&event, output);
        }
    }
    while let Some(event) = events.next().await {
        // Only what is recent can come twice.
        if seen.len() > REMEMBERED {
            seen.clear();
        }
        if seen.insert(identity(&event)) {
            print(&event, output);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What makes an event the same when it comes twice.
type Identity = (JobKey, EventWhat, Option<EventAttempt>, u64);

fn identity(event: &Event) -> Identity {
    (event.key.clone(), event.what, event.attempt, event.at_ms)
}

fn print(event: &Event, output: Output) {
    match output {
        Output::Json => crate::say!(
            "{}",
            serde_json::to_string(event)
                .expect("invariant: events are plain data and always encode")
        ),
        Output::Text => {
            let (done, total, unit) = (event.done, event.total, &event.unit);
            let how_far = if event.what == EventWhat::Progress {
                format!(" {done}/{total} {unit}")
            } else {
                String::new()
            };
            crate::say!(
                "{:<10} {:<10} {}{how_far} {}",
                event.what.to_string(),
                event.kind.to_string(),
                event.key.short(),
                event.message
            );
        }
    }
}

struct Watcher {
    connection: Connection,
    reader: Reader,
    sweep: SweepId,
    output: Output,
    view: View,
    running: Running,
    bars: Bars,
    /// Events shown already: the past and the present overlap.
    seen: HashSet<Identity>,
    away_since: Option<Instant>,
}

impl Watcher {
    async fn new(
        connection: Connection,
        mut reader: Reader,
        sweep: SweepId,
        output: Output,
    ) -> Result<Self> {
        let view = reader.view(&sweep).await?;
        let bars = Bars::new(sweep.as_str());
        Ok(Self {
            connection,
            reader,
            sweep,
            output,
            view,
            running: Running::default(),
            bars,
            seen: HashSet::new(),
            away_since: None,
        })
    }

    async fn run(mut self) -> Result<ExitCode> {
        let mut live = live_events(&self.connection, &EventFilter::default()).await?;
        self.look().await?;
        for event in past_events(&self.connection, &EventFilter::default()).await? {
            if event.at_ms >= self.view.sweep.submitted_ms {
                self.take(&event, true);
            }
        }
        let mut next_look = time::Instant::now();
        while self.view.outcome.state == SweepState::Running {
            tokio::select! {
                event = live.next() => {
                    let event = event.context("the connection to the broker is closed")?;
                    if !self.view.knows(&event.key) {
                        self.look().await?; // a job that was planned a moment ago
                    }
                    self.take(&event, false);
                    if matches!(event.what, EventWhat::Done | EventWhat::Dead) {
                        next_look = next_look.min(time::Instant::now() + SETTLE);
                    }
                }
                () = time::sleep_until(next_look) => {
                    self.look().await?;
                    next_look = time::Instant::now() + LOOK_EVERY;
                }
            }
        }
        self.bars.clear();
        self.finish()
    }

    /// Looks at the sweep anew. A system that is away for a moment is waited for.
    async fn look(&mut self) -> Result<()> {
        match self.reader.view(&self.sweep).await {
            Ok(view) => {
                self.view = view;
                self.away_since = None;
            }
            Err(error) => {
                let since = *self.away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(error.context("the system does not answer any more"));
                }
                self.bars.say(&format!("waiting for the system: {error:#}"));
            }
        }
        if self.output == Output::Text {
            self.bars.counts(&self.view.outcome.jobs);
        }
        Ok(())
    }

    fn take(&mut self, event: &Event, past: bool) {
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
        match self.running.take(event) {
            Change::Began | Change::Moved => {
                if let Some(run) = self.running.get(&event.key) {
                    self.bars.draw(&event.key, label, run);
                }
            }
            Change::Ended => self.bars.remove(&event.key),
            Change::Nothing => {}
        }
        if !past {
            self.bars.note(event, label);
        }
    }

    fn finish(self) -> Result<ExitCode> {
        let complete = self.view.outcome.state == SweepState::Complete;
        if self.output == Output::Text {
            for line in self.view.last_words() {
                crate::say!("{line}");
            }
        }
        Ok(if complete {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

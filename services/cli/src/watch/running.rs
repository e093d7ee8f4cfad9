//! Which jobs run, how far they are and how fast: folded from events, drawn elsewhere.

use crate::watch::pace::Pace;
use cedm_contract::{Event, EventAttempt, EventWhat, JobKey, Kind};
use std::{collections::BTreeMap, time::Duration};

/// One running job.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its kind.
    pub kind: Kind,
    /// Its worker.
    pub worker: String,
    /// Which attempt.
    pub attempt: Option<EventAttempt>,
    /// When it began, in Unix milliseconds.
    pub since_ms: u64,
    /// Work done, in `unit`.
    pub done: u64,
    /// Work in all; 0 while unknown.
    pub total: u64,
    /// What is counted.
    pub unit: String,
    pace: Pace,
}

impl Run {
    /// Units per second, once known.
    pub fn rate(&self) -> Option<f64> {
        self.pace.rate()
    }
    /// Time left, once known.
    pub fn left(&self) -> Option<Duration> {
        self.pace.left(self.total)
    }
}

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A job began, or began again.
    Began,
    /// It went on.
    Moved,
    /// It is no longer running.
    Ended,
    /// Nothing that shows.
    Nothing,
}

/// The running jobs.
#[derive(Debug, Default)]
pub struct Running {
    jobs: BTreeMap<JobKey, Run>,
}

impl Running {
    /// Takes an event in.
    pub fn take(&mut self, event: &Event) -> Change {
        match event.what {
            EventWhat::Started => {
                self.jobs.insert(event.key.clone(), Self::run(event));
                Change::Began
            }
            EventWhat::Progress => {
                // The start was missed, or another attempt took over.
                let fresh = self
                    .jobs
                    .get(&event.key)
                    .is_none_or(|run| delivery(run.attempt) != delivery(event.attempt));
                let run = self
                    .jobs
                    .entry(event.key.clone())
                    .or_insert_with(|| Self::run(event));
                if fresh {
                    *run = Self::run(event);
                }
                run.pace.report(event.at_ms, event.done);
                (run.done, run.total, run.unit) = (event.done, event.total, event.unit.clone());
                if fresh { Change::Began } else { Change::Moved }
            }
            EventWhat::Done | EventWhat::Dead => self.end(&event.key),
            // A late attempt says nothing of the one that runs now.
            EventWhat::Failed | EventWhat::Superseded => match self.jobs.get(&event.key) {
                Some(run) if delivery(run.attempt) == delivery(event.attempt) => {
                    self.end(&event.key)
                }
                _ => Change::Nothing,
            },
        }
    }
    /// Forgets a job.
    pub fn end(&mut self, key: &JobKey) -> Change {
        if self.jobs.remove(key).is_some() {
            Change::Ended
        } else {
            Change::Nothing
        }
    }
    /// One of them.
    pub fn get(&self, key: &JobKey) -> Option<&Run> {
        self.jobs.get(key)
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }
    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn run(event: &Event) -> Run {
        Run {
            kind: event.kind,
            worker: event.worker.clone(),
            attempt: event.attempt,
            since_ms: event.at_ms,
            done: event.done,
            total: event.total,
            unit: event.unit.clone(),
            pace: Pace::from(event.at_ms, event.done),
        }
    }
}

/// What identifies an attempt in every event: events of progress carry no more.
fn delivery(attempt: Option<EventAttempt>) -> Option<(u64, u64)> {
    attempt.map(|attempt| (attempt.sequence, attempt.delivery))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: EventWhat, delivery: u64, at_ms: u64, done: u64) -> Event {
        let attempt = match what {
            EventWhat::Progress => format!("1-{delivery}"),
            _ => format!("1-{delivery}-01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        };
        Event {
            schema: 1,
            key: JobKey::of(b"a"),
            kind: Kind::Train,
            what,
            attempt: Some(attempt.parse().unwrap()),
            worker: "w".into(),
            at_ms,
            cached: false,
            done,
            total: 100,
            unit: "kimg".into(),
            message: String::new(),
        }
    }

    #[test]
    fn a_job_runs_from_its_start_to_its_end() {
        let (mut running, key) = (Running::default(), JobKey::of(b"a"));
        assert_eq!(
            running.take(&event(EventWhat::Started, 1, 0, 0)),
            Change::Began
        );
        assert_eq!(
            running.take(&event(EventWhat::Progress, 1, 1_000, 10)),
            Change::Moved
        );
        assert_eq!(
            running.get(&key).unwrap().left(),
            Some(Duration::from_secs(9))
        );
        // Its worker dies; another goes on from a checkpoint at 5.
        assert_eq!(
            running.take(&event(EventWhat::Started, 2, 9_000, 5)),
            Change::Began
        );
        assert_eq!(
            running.take(&event(EventWhat::Failed, 1, 9_500, 0)),
            Change::Nothing
        );
        assert_eq!(
            running.take(&event(EventWhat::Progress, 2, 10_000, 25)),
            Change::Moved
        );
        assert!((running.get(&key).unwrap().rate().unwrap() - 20.0).abs() < 1e-9);
        assert_eq!(
            running.take(&event(EventWhat::Done, 2, 20_000, 0)),
            Change::Ended
        );
        assert_eq!(
            running.take(&event(EventWhat::Superseded, 1, 21_000, 0)),
            Change::Nothing
        );
        assert!(running.is_empty());
    }
}

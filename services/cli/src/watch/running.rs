//! The running jobs of a sweep with their progress, folded from events.

use crate::watch::rate::RateEstimate;
use cedm_contract::{Event, EventAttempt, EventWhat, JobKey};
use std::{collections::BTreeMap, time::Duration};

/// A running job with its latest progress.
#[derive(Clone, Debug)]
pub struct RunningJob {
    /// The attempt that runs.
    attempt: Option<EventAttempt>,
    /// Work done, in `unit`.
    pub done: u64,
    /// Work in all; 0 while unknown.
    pub total: u64,
    /// What is counted, for example `kimg`.
    pub unit: String,
    /// What the computation says of itself: its loss, say.
    pub note: String,
    estimate: RateEstimate,
}

impl RunningJob {
    /// Units per second, once known.
    pub fn rate(&self) -> Option<f64> {
        self.estimate.rate()
    }
    /// Remaining time, once known.
    pub fn time_left(&self) -> Option<Duration> {
        self.estimate.time_left(self.total)
    }
}

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A job started, or a new attempt at it.
    Started,
    /// A running job made progress.
    Advanced,
    /// It is no longer running.
    Ended,
    /// Nothing that is shown.
    None,
}

/// The running jobs by key.
#[derive(Debug, Default)]
pub struct RunningJobs {
    jobs: BTreeMap<JobKey, RunningJob>,
}

impl RunningJobs {
    /// Applies an event; returns what it changed.
    pub fn apply(&mut self, event: &Event) -> Change {
        match event.what {
            EventWhat::Started => {
                self.jobs.insert(event.key.clone(), Self::started(event));
                Change::Started
            }
            EventWhat::Progress => {
                // The start event was missed, or another attempt took over.
                let is_new = self
                    .jobs
                    .get(&event.key)
                    .is_none_or(|job| delivery(job.attempt) != delivery(event.attempt));
                let job = self
                    .jobs
                    .entry(event.key.clone())
                    .or_insert_with(|| Self::started(event));
                if is_new {
                    *job = Self::started(event);
                }
                job.estimate.record(event.at_ms, event.done);
                (job.done, job.total, job.unit) = (event.done, event.total, event.unit.clone());
                job.note.clone_from(&event.message);
                if is_new {
                    Change::Started
                } else {
                    Change::Advanced
                }
            }
            EventWhat::Done | EventWhat::Dead => self.end(&event.key),
            // The end of an earlier attempt does not concern the one that runs now.
            EventWhat::Failed | EventWhat::Superseded => match self.jobs.get(&event.key) {
                Some(job) if delivery(job.attempt) == delivery(event.attempt) => {
                    self.end(&event.key)
                }
                _ => Change::None,
            },
        }
    }
    /// Removes a job that no longer runs.
    fn end(&mut self, key: &JobKey) -> Change {
        if self.jobs.remove(key).is_some() {
            Change::Ended
        } else {
            Change::None
        }
    }
    /// The running job with this key.
    pub fn get(&self, key: &JobKey) -> Option<&RunningJob> {
        self.jobs.get(key)
    }

    fn started(event: &Event) -> RunningJob {
        RunningJob {
            attempt: event.attempt,
            done: event.done,
            total: event.total,
            unit: event.unit.clone(),
            note: String::new(),
            estimate: RateEstimate::starting_at(event.at_ms, event.done),
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
    use cedm_contract::Kind;

    /// Events of progress name the delivery alone.
    fn event(what: EventWhat, delivery: u64, at_ms: u64, done: u64) -> Event {
        let attempt = match what {
            EventWhat::Progress => EventAttempt::of_delivery(1, delivery),
            _ => (&cedm_contract::Attempt::new(1, delivery)).into(),
        };
        Event {
            schema: 1,
            key: JobKey::of(b"a"),
            kind: Kind::Train,
            what,
            attempt: Some(attempt),
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
        let (mut running, key) = (RunningJobs::default(), JobKey::of(b"a"));
        assert_eq!(
            running.apply(&event(EventWhat::Started, 1, 0, 0)),
            Change::Started
        );
        assert_eq!(
            running.apply(&event(EventWhat::Progress, 1, 1_000, 10)),
            Change::Advanced
        );
        assert_eq!(
            running.get(&key).unwrap().time_left(),
            Some(Duration::from_secs(9))
        );
        // Its worker dies; another attempt continues from a checkpoint at 5.
        assert_eq!(
            running.apply(&event(EventWhat::Started, 2, 9_000, 5)),
            Change::Started
        );
        assert_eq!(
            running.apply(&event(EventWhat::Failed, 1, 9_500, 0)),
            Change::None
        );
        assert_eq!(
            running.apply(&event(EventWhat::Progress, 2, 10_000, 25)),
            Change::Advanced
        );
        assert!((running.get(&key).unwrap().rate().unwrap() - 20.0).abs() < 1e-9);
        assert_eq!(
            running.apply(&event(EventWhat::Done, 2, 20_000, 0)),
            Change::Ended
        );
        assert_eq!(
            running.apply(&event(EventWhat::Superseded, 1, 21_000, 0)),
            Change::None
        );
        assert!(running.get(&key).is_none());
    }
}

//! The state of a job in one sentence, and its reason.

use crate::render;
use cedm_contract::{DeadLetter, Event, EventWhat, Heartbeat, Kind, Manifest};

/// What is known about a job.
#[derive(Debug, Default)]
pub struct JobStatus {
    /// Its kind, where anything names it.
    pub kind: Option<Kind>,
    /// The manifest of its result, if it has one.
    pub manifest: Option<Manifest>,
    /// Whether a result is stored whose objects are missing or damaged.
    pub broken: bool,
    /// Its dead letter, if it was given up.
    pub dead_letter: Option<DeadLetter>,
    /// `Some` when it is queued, with `true` when it waits for its next attempt after a failure.
    pub queued: Option<bool>,
    /// The consumer by which workers would get it, where somebody removed that.
    pub removed_consumer: Option<String>,
    /// What it waits for, where it is given back by workers of other versions.
    pub other_version: Option<String>,
    /// The worker that runs it.
    pub worker: Option<Heartbeat>,
    /// Other queued jobs of its kind.
    pub others: usize,
    /// Workers of its service with a recent heartbeat.
    pub workers: usize,
    /// How many of these are running a job.
    pub busy: usize,
    /// Labels of jobs that must be done first.
    pub waits_for: Vec<String>,
    /// Its events, oldest first.
    pub events: Vec<Event>,
}

/// The state of a job as the rest of a sentence that starts with "the job".
pub fn verdict(status: &JobStatus) -> String {
    if let Some(manifest) = &status.manifest {
        return done(manifest, &status.events);
    }
    if status.broken {
        return "has a result whose objects are missing or damaged (`cedm fsck` names them); the next \
            submit discards it and runs the job again"
            .to_owned();
    }
    if let Some(worker) = &status.worker {
        let progress = if worker.total > 0 {
            format!(", {} of {} {}", worker.done, worker.total, worker.unit)
        } else {
            String::new()
        };
        return format!(
            "has been running on {} for {}{progress}",
            worker.worker,
            render::since(worker.since_ms)
        );
    }
    if let Some(letter) = &status.dead_letter {
        return format!(
            "is dead after {} attempts: {}",
            letter.attempts,
            first_line(&letter.error)
        );
    }
    let service = status.kind.map_or("a worker", |kind| kind.service().name());
    if let (Some(_), Some(wanted)) = (status.queued, &status.other_version) {
        return format!("waits for {wanted}: update or start one; nothing is lost meanwhile");
    }
    if let (Some(false), Some(consumer)) = (status.queued, &status.removed_consumer)
        && status.workers > 0
    {
        // Workers may be free, and hear nothing of it.
        return format!(
            "waits because the consumer `{consumer}` of its queue was removed: a {service} or the \
             coordinator makes it again within seconds; if not, its log says why"
        );
    }
    match status.queued {
        Some(true) => {
            let last = status
                .events
                .iter()
                .rev()
                .find(|event| event.what == EventWhat::Failed);
            let why = last.map_or(String::new(), |event| {
                format!(": the last attempt failed ({})", first_line(&event.message))
            });
            format!("waits for its next attempt{why}")
        }
        Some(false) if status.workers == 0 => format!(
            "waits because no {service} is running: start one \
             (`cedm up --workers {service}=1`)"
        ),
        Some(false) if status.busy >= status.workers => {
            format!(
                "waits for a free {service}: {} of {} are busy, and {} other jobs of its kind are queued",
                status.busy, status.workers, status.others
            )
        }
        Some(false) => format!(
            "is queued and should start at once: {} of {} {service} processes are free",
            status.workers - status.busy,
            status.workers
        ),
        None if !status.waits_for.is_empty() => {
            let (shown, more) = (
                status
                    .waits_for
                    .iter()
                    .take(4)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", "),
                status.waits_for.len().saturating_sub(4),
            );
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!("waits for {shown}{more}")
        }
        None if status.events.is_empty() => {
            "is unknown: no result, message or event has this key".to_owned()
        }
        None => {
            "is not queued and has no result; the coordinator queues it again when a running sweep \
            needs it"
                .to_owned()
        }
    }
}

fn done(manifest: &Manifest, events: &[Event]) -> String {
    let took = render::duration(std::time::Duration::from_millis(
        manifest.timings.compute_ms,
    ));
    let again = match manifest.attempt.delivery {
        0 | 1 => String::new(),
        times => format!(", in the {} delivery", ordinal(times)),
    };
    let reused = events
        .iter()
        .filter(|event| event.what == EventWhat::Done && event.cached)
        .count();
    let reused = if reused > 0 {
        format!("; reused {reused} times since")
    } else {
        String::new()
    };
    format!(
        "was done by {} in {took}, {} ago{again}{reused}",
        manifest.software.worker,
        render::since(manifest.timings.finished_ms)
    )
}

fn ordinal(number: u64) -> String {
    match number {
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        n => format!("{n}th"),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_contract::{JobKey, SCHEMA_VERSION};

    fn check(status: JobStatus, expect: &str) {
        let found = verdict(&status);
        assert!(
            found.contains(expect),
            "expected {expect:?}, found {found:?}"
        );
    }

    fn failed(message: &str) -> Event {
        Event {
            schema: SCHEMA_VERSION,
            key: JobKey::of(b"a"),
            kind: Kind::Train,
            what: EventWhat::Failed,
            attempt: None,
            worker: String::new(),
            at_ms: 0,
            cached: false,
            done: 0,
            total: 0,
            unit: String::new(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn every_state_of_a_job_is_described() {
        let queued = |delayed| JobStatus {
            kind: Some(Kind::Train),
            queued: Some(delayed),
            ..JobStatus::default()
        };
        check(JobStatus::default(), "is unknown");
        check(queued(false), "no trainer is running");
        check(
            JobStatus {
                workers: 2,
                busy: 2,
                others: 5,
                ..queued(false)
            },
            "2 of 2 are busy, and 5 other jobs",
        );
        check(
            JobStatus {
                workers: 2,
                busy: 1,
                ..queued(false)
            },
            "should start at once",
        );
        check(
            JobStatus {
                workers: 2,
                busy: 1,
                removed_consumer: Some("train-p1".to_owned()),
                ..queued(false)
            },
            "the consumer `train-p1` of its queue was removed",
        );
        check(
            JobStatus {
                events: vec![failed("store: no answer\nmore")],
                ..queued(true)
            },
            "the last attempt failed (store: no answer)",
        );
        check(
            JobStatus {
                other_version: Some("a trainer of version 3 of `train`".to_owned()),
                ..queued(true)
            },
            "waits for a trainer of version 3",
        );
        check(
            JobStatus {
                waits_for: vec!["cluster temi C=20".into()],
                ..JobStatus::default()
            },
            "waits for cluster temi C=20",
        );
        check(
            JobStatus {
                broken: true,
                ..JobStatus::default()
            },
            "missing or damaged",
        );
    }
}

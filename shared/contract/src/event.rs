//! What happened: events, dead letters, heartbeats of workers.

use crate::{Attempt, ContractError, Job, JobKey, Kind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// What an event says about its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventWhat {
    /// A worker began an attempt.
    Started,
    /// How far the attempt is.
    Progress,
    /// The manifest of the job exists: its result can be read.
    Done,
    /// An attempt ended in an error.
    Failed,
    /// An attempt finished after another had won; its result was discarded.
    Superseded,
    /// The job was moved to the dead letters.
    Dead,
}
impl fmt::Display for EventWhat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EventWhat::Started => "started",
            EventWhat::Progress => "progress",
            EventWhat::Done => "done",
            EventWhat::Failed => "failed",
            EventWhat::Superseded => "superseded",
            EventWhat::Dead => "dead",
        })
    }
}

/// The attempt that an event is about: an [`Attempt`], or in events of progress only the delivery
/// that it works on. Text `<sequence>-<delivery>-<ULID>` or `<sequence>-<delivery>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventAttempt {
    /// Sequence of the job's message in the JOBS stream, as in [`Attempt::sequence`].
    pub sequence: u64,
    /// How often that message had been delivered, this time included, as in [`Attempt::delivery`].
    pub delivery: u64,
    /// See [`Attempt::ulid`]; absent in events of progress.
    pub ulid: Option<ulid::Ulid>,
}

impl EventAttempt {
    /// A delivery whose attempt is not named.
    pub fn of_delivery(sequence: u64, delivery: u64) -> Self {
        Self {
            sequence,
            delivery,
            ulid: None,
        }
    }
}
impl From<&Attempt> for EventAttempt {
    fn from(attempt: &Attempt) -> Self {
        Self {
            sequence: attempt.sequence,
            delivery: attempt.delivery,
            ulid: Some(attempt.ulid),
        }
    }
}
impl fmt::Display for EventAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, self.delivery)?;
        match self.ulid {
            Some(ulid) => write!(f, "-{ulid}"),
            None => Ok(()),
        }
    }
}
impl FromStr for EventAttempt {
    type Err = ContractError;
    fn from_str(text: &str) -> Result<Self, ContractError> {
        let malformed = || ContractError::Malformed {
            what: "attempt of an event",
            found: text.chars().take(80).collect(),
            expected: "<sequence>-<delivery>, with or without -<ULID>",
        };
        let mut parts = text.splitn(3, '-');
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        let (sequence, delivery) = number().zip(number()).ok_or_else(malformed)?;
        let ulid = parts.next().map(str::parse).transpose();
        Ok(Self {
            sequence,
            delivery,
            ulid: ulid.map_err(|_| malformed())?,
        })
    }
}

/// On the wire: its text, empty for none.
mod attempt_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        attempt: &Option<EventAttempt>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match attempt {
            Some(attempt) => to.collect_str(attempt),
            None => to.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<EventAttempt>, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(serde::de::Error::custom)
    }
}

/// One event. Readers are idempotent: what counts is the manifest, an event only tells them to
/// look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`crate::SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// Key of the job that the event is about.
    pub key: JobKey,
    /// In an event the kind of that job; in a heartbeat the kind of `job`, absent without one.
    pub kind: Kind,
    /// What happened to the job; also a token of the event's subject.
    pub what: EventWhat,
    /// Which attempt; absent when none is involved (a cache hit).
    #[serde(with = "attempt_text")]
    pub attempt: Option<EventAttempt>,
    /// Name of the worker process that published the event.
    pub worker: String,
    /// Unix time in milliseconds.
    pub at_ms: u64,
    /// Whether the result was there already.
    #[serde(default)]
    pub cached: bool,
    /// Work done so far, in `unit`.
    #[serde(default)]
    pub done: u64,
    /// Work in all, in `unit`; 0 when unknown.
    #[serde(default)]
    pub total: u64,
    /// What `done` and `total` count: "images", "epochs", "kimg".
    #[serde(default)]
    pub unit: String,
    /// For people: the error, or a short remark; in an event of progress what the computation says
    /// of itself, such as its loss.
    #[serde(default)]
    pub message: String,
}

/// How a failed attempt is treated; only this decides between a later retry, a dead letter and an
/// alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The environment failed (store, broker, disk): tried again later.
    Retry,
    /// The job itself is wrong (bad input, impossible parameters): not tried again by itself.
    Reject,
    /// The program is wrong (panic, broken invariant): tried again, with an alert.
    Bug,
}

/// A job that will not be tried again by itself, with the reason, as stored in the DEAD stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// [`crate::SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// The job as it was submitted; absent when its bytes could not be read.
    pub job: Option<Job>,
    /// Kind of the job, known from the subject even when its bytes could not be read.
    pub kind: Kind,
    /// Key of the job, known from the subject even when its bytes could not be read.
    pub key: JobKey,
    /// How the last attempt failed.
    pub failure: FailureKind,
    /// The error, outermost cause first.
    pub error: String,
    /// Number of attempts made before the job was given up.
    pub attempts: u64,
    /// Unix time in milliseconds.
    pub at_ms: u64,
    /// The worker that made the last attempt; empty when the broker gave up on it.
    pub worker: String,
    /// The message as found, when it could not be read.
    #[serde(default)]
    pub raw: Vec<u8>,
}

/// The state of a running worker process, kept in the `workers` bucket with a time to live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Name of the worker, unique per process.
    pub worker: String,
    /// Name of the service, as in [`crate::Service::name`].
    pub service: String,
    /// Name of the host on which the process runs.
    pub host: String,
    /// Id of the process on that host.
    pub pid: u32,
    /// The job that it works on, if any.
    pub job: Option<JobKey>,
    /// In an event the kind of that job; in a heartbeat the kind of `job`, absent without one.
    pub kind: Option<Kind>,
    /// Work done so far.
    pub done: u64,
    /// Work in all; 0 when unknown.
    pub total: u64,
    /// What `done` and `total` count: "images", "epochs", "kimg".
    pub unit: String,
    /// Unix time in milliseconds at which that job began.
    pub since_ms: u64,
    /// Version of the program that the worker runs.
    pub version: String,
    /// Address of its `/metrics`.
    pub metrics: String,
    /// Milliseconds by which its clock is ahead of the broker's, negative when behind; absent until
    /// measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_ms: Option<i64>,
    /// Where it computes: `cpu`, or the accelerator's name; empty for a process without jobs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// Why it computes there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device_reason: String,
    /// Resident memory of the process in bytes; absent from workers that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
}

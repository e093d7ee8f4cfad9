//! What happened: events, heartbeats of workers, dead letters.

use crate::{Job, JobKey, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an event says about its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventWhat {
    /// A worker began an attempt.
    Started,
    /// How far it is.
    Progress,
    /// A manifest exists.
    Done,
    /// An attempt ended in an error.
    Failed,
    /// An attempt finished after another had won; its result was discarded.
    Superseded,
    /// The job lies among the dead letters.
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

/// One event. Readers are idempotent: what counts is the manifest, an event only wakes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`crate::SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// The job.
    pub key: JobKey,
    /// Its kind.
    pub kind: Kind,
    /// What happened.
    pub what: EventWhat,
    /// Which attempt, as text; empty when none is involved (a cache hit).
    pub attempt: String,
    /// Which worker process.
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
    /// For people: the error, or a short remark.
    #[serde(default)]
    pub message: String,
}

/// How a failed attempt is treated; only this decides between nak, term and alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The world was in the way (store, broker, disk): again later.
    Retry,
    /// The job itself is wrong (bad input, impossible parameters): never again by itself.
    Reject,
    /// The program is wrong (panic, broken invariant): again, and loudly.
    Bug,
}

/// A job that nobody could do, with the reason, as it lies in the DEAD stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// [`crate::SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// The job as it was submitted; absent when its bytes could not be read.
    pub job: Option<Job>,
    /// The job's kind.
    pub kind: Kind,
    /// The job's key.
    pub key: JobKey,
    /// How the last attempt failed.
    pub failure: FailureKind,
    /// The error, outermost cause first.
    pub error: String,
    /// Attempts made.
    pub attempts: u64,
    /// Unix time in milliseconds.
    pub at_ms: u64,
    /// The worker that made the last attempt; empty when the broker gave up on it.
    pub worker: String,
    /// The message as found, when it could not be read.
    #[serde(default)]
    pub raw: Vec<u8>,
}

/// What a running worker process says of itself, kept in the `workers` bucket with a time to live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Unique per process.
    pub worker: String,
    /// Service name.
    pub service: String,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Job in hand, if any.
    pub job: Option<JobKey>,
    /// Its kind.
    pub kind: Option<Kind>,
    /// Work done so far.
    pub done: u64,
    /// Work in all; 0 when unknown.
    pub total: u64,
    /// Unit of both.
    pub unit: String,
    /// Unix time in milliseconds at which the job in hand began.
    pub since_ms: u64,
    /// Program version.
    pub version: String,
    /// Where its /metrics is.
    pub metrics: String,
}

//! What the processes of C-EDM say to each other: messages, identifiers, subjects, object keys and
//! manifests.
//!
//! Pure data. No I/O, no async, no tensors; nothing of ours is imported here and every other crate
//! may import it. A reader who knows [`Job`], [`Manifest`] and [`Kind`] knows every step of the
//! system: one request message, one result manifest, one object prefix, one metric prefix.
//!
//! What all kinds of job share stands at the root; what belongs to one kind (parameters, inputs,
//! result, names of outputs and tensors) in its module of [`kinds`], one file each, and is imported
//! from there.
//!
//! Modules in the order of reading: `job` (the request), `ids`, `inputs` and `outputs` (what a job
//! reads and writes), `kinds` (one file per kind), `extractor` (the parameter that several kinds
//! share), `manifest` (the result), `objects` (keys in the store), `subjects` (streams and
//! subjects), `event` (events, dead letters, heartbeats), `service` (which program performs which
//! kinds), `error`.

#![forbid(unsafe_code)]

mod error;
mod event;
mod extractor;
mod ids;
mod inputs;
mod job;
pub mod kinds;
mod manifest;
mod objects;
mod outputs;
pub mod run_metrics;
mod service;
mod subjects;

pub use error::ContractError;
pub use event::{DeadLetter, Event, EventAttempt, EventWhat, FailureKind, Heartbeat};
pub use extractor::{ExtractorSpec, MOST_WEIGHT_BYTES, Precision};
pub use ids::{Attempt, Digest, JobKey, SweepId};
pub use inputs::{Inputs, NoInputs, Role, RoleReader, numbered_role};
pub use job::{EncodedSpec, Hints, Input, Job, Priority};
pub use kinds::{JobKind, JobResult, JobSpec, Kind, ListedKind};
pub use manifest::{Manifest, ObjectRef, Output, ShardRef, Software, Timings};
pub use objects::{
    BLOB_PREFIX, CANCELLED, CHECKPOINT_PREFIX, DATASET_PREFIX, IDENTITY_KEY, MANIFEST_PREFIX,
    MAX_OBJECT_KEY, NOTICE_PREFIX, OBJECT_PREFIX, PAUSED, PROBE_PREFIX, SPEC, SUSPECT_PREFIX,
    SWEEP_PREFIX, SYSTEM_PREFIX, attempt_prefix, blob_key, checkpoint_key, checkpoint_prefix,
    dataset_key, is_dataset_name, is_object_key, manifest_key, notice_key, output_key,
    quarantine_key, quarantine_strange_key, sweep_key,
};
pub use outputs::{OutputName, Stability, TensorName};
pub use service::Service;
pub use subjects::{
    ADVISORIES_STREAM, DEAD_STREAM, DELAYS_STREAM, EVENTS_STREAM, JOBS_STREAM, Names, dead_subject,
    delay_subject, due_subject, event_subject, filters, job_subject, parse_job_subject,
};

/// Version of every message and manifest written by this build. Readers reject newer ones, and read
/// older ones.
pub const SCHEMA_VERSION: u32 = 1;

/// Largest encoded job or event, in bytes: messages carry references, never data.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

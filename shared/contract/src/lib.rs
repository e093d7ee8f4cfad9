//! What is said: messages, identifiers, subjects, object keys, manifests and the sweep file of
//! C-EDM.
//!
//! Pure data. No I/O, no async, no tensors; nothing of ours is imported here and every other crate
//! may import it. A reader who knows [`Job`], [`Manifest`] and [`Kind`] knows every hop of the
//! system: one request message, one result manifest, one object prefix, one metric prefix.

#![forbid(unsafe_code)]

mod error;
mod event;
mod ids;
mod job;
mod kind;
mod manifest;
mod objects;
pub mod params;
mod results;
mod subjects;

pub use error::ContractError;
pub use event::{DeadLetter, Event, EventWhat, FailureKind, Heartbeat};
pub use ids::{Attempt, Digest, JobKey, SweepId};
pub use job::{Hints, Input, Job, JobSpec, Priority};
pub use kind::{Kind, Service};
pub use manifest::{Manifest, ObjectRef, Output, Software, Timings};
pub use objects::{
    MAX_OBJECT_KEY, attempt_prefix, blob_key, checkpoint_key, checkpoint_prefix, manifest_key,
    output_key, sweep_key,
};
pub use results::{
    AdaptResult, BoundDecision, BoundResult, ClusterQuality, ClusterResult,
    FeatureEvaluationResult, FeatureSet, ImageSet, JobResult, MeasureResult, Probe,
    ReferenceResult, SampleSetResult, Score, ScoreResult, ShardRef, TrainResult,
};
pub use subjects::{
    ADVISORIES_STREAM, DEAD_STREAM, DELAYS_STREAM, EVENTS_STREAM, JOBS_STREAM, dead_subject,
    delay_subject, due_subject, event_subject, job_subject, parse_job_subject,
};

/// Version of every message and manifest written by this build. Readers refuse newer ones, and read
/// older ones.
pub const SCHEMA_VERSION: u32 = 1;

/// Largest encoded job or event, in bytes: messages carry references, never data.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

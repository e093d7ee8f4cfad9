//! What every process shares: configuration, the NATS work loop, the object store, metrics, logs,
//! health and graceful shutdown. No tensors.
//!
//! A service gives [`serve`] a [`Worker`]; everything that all services have in common happens
//! here. The coordinator and the `cedm` command use [`Connection`] and what opens on it:
//! [`Submitter`], [`DeadLetters`], [`Redeliverer`], [`Bucket`], events.
//!
//! It reads jobs, manifests and objects; it writes manifests (create-only), objects below
//! `object/<key>/<attempt>/`, checkpoints, events, heartbeats, delayed jobs and dead letters. It
//! computes nothing itself.
//!
//! Modules in the order of a job:
//!
//! - connecting: `connect`, `streams`, `deploy`, `queue`, `store`, `bucket`
//! - submitting: `envelope`, `job_message`, `submit`, `verify`
//! - working: `lifecycle`, `service_process`, `store_watch`, `worker`, `serve`, `attempt`,
//!   `job_context`, `compute`, `monitor`, `progress`, `stall`, `checkpoints`, `scratch`
//! - finishing: `commit`, `events`, `error`, `retries`, `redeliverer`, `dead`, `drain`
//! - observing: `metrics`, `health`, `telemetry`, `audit`, `undecodable`, `clock`
//! - tests: `failpoint`, `simulation`, `testing`

#![forbid(unsafe_code)]

mod attempt;
mod audit;
mod bucket;
mod checkpoints;
mod clock;
mod collect;
mod commit;
mod compute;
mod connect;
mod create_only;
mod dead;
pub mod deploy;
mod drain;
mod envelope;
mod error;
mod events;
mod failpoint;
mod health;
mod held;
mod job_context;
mod job_message;
mod lifecycle;
mod local_file;
pub mod metrics;
mod monitor;
mod progress;
mod queue;
mod redeliverer;
mod retries;
mod scratch;
mod serve;
mod service_process;
#[cfg(test)]
mod simulation;
mod stall;
pub mod store;
mod store_watch;
mod streams;
mod submit;
mod telemetry;
#[cfg(test)]
mod testing;
mod undecodable;
mod verify;
mod worker;

pub use audit::{Claims, Findings, Violation, Volume, audit, commits};
pub use bucket::{Bucket, Entry, LEASES, SWEEPS, SYSTEM, WORKERS, workers};
pub use clock::{clock_skew_ms, clock_warning};
pub use collect::{Ages, Garbage, Roots, UnneededResult, survey};
pub use commit::Committed;
pub use connect::{ConnectArgs, Connection, NatsArgs};
pub use create_only::{Written, create_only};
pub use dead::{DeadLetters, Replayed, UndecodableMessage};
pub use drain::{Drain, exit_with_parent};
pub use envelope::{Envelope, TraceId};
pub use error::{Cause, JobError, RuntimeError, chain};
pub use events::{
    EventFilter, UnreadableEvent, forget_event, live_events, past_events, unreadable_events,
};
pub use health::Health;
pub use job_context::JobContext;
pub use lifecycle::{EXIT_OTHER_STORE, EXIT_SECOND_SIGNAL, EXIT_STALLED, STOP_TIME};
pub use local_file::{open_regular, read_regular, read_text_file};
pub use metrics::Metrics;
pub use monitor::{ConsoleMonitor, Monitor, QuietMonitor};
pub use queue::{QueueError, Stored};
pub use redeliverer::Redeliverer;
pub use retries::RetryPolicy;
pub use serve::{serve, serve_until};
pub use service_process::ServiceProcess;
pub use stall::{Stall, StallLimit};
pub use store::{Body, Created, InputPath, S3Settings, S3Store, Store, StoreError};
pub use streams::{Delays, Delivering, Depth, consumer_name, delays, has_consumer, queue_depths};
pub use submit::{Outstanding, SubmitOutcome, Submitter};
pub use telemetry::{LogFormat, start_logging};
pub use undecodable::{Place, undecodable};
pub use verify::{LookUpError, Quarantine, Verifier, objects_of};
pub use worker::{ComputeDevice, Outcome, ServeArgs, Worker};

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Source revision of this build, where the builder set `CEDM_REVISION`.
pub const REVISION: &str = match option_env!("CEDM_REVISION") {
    Some(revision) => revision,
    None => "",
};

/// Unix time in milliseconds.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// This program and process, as manifests name what made a result on `device`.
pub fn software(device: &ComputeDevice) -> cedm_contract::Software {
    cedm_contract::Software {
        version: VERSION.to_owned(),
        revision: REVISION.to_owned(),
        worker: worker_name(),
        device: device.name.clone(),
        deterministic: device.deterministic,
    }
}

/// This process among all: `<program>-<host>-<pid>-<start>`, of characters that a bucket key may
/// have.
pub fn worker_name() -> String {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let name = NAME.get_or_init(|| {
        let program = std::env::current_exe().ok();
        let program = program
            .as_deref()
            .and_then(|path| path.file_stem())
            .and_then(|name| name.to_str())
            .unwrap_or("cedm");
        let name = format!(
            "{}-{}-{}-{:x}",
            program.trim_start_matches("cedm-"),
            host_name(),
            std::process::id(),
            now_ms() & 0xff_ffff
        );
        name.chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                    c
                } else {
                    '-'
                }
            })
            .collect()
    });
    name.clone()
}

/// Host name, for people.
pub(crate) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// Resident memory of this process in bytes; 0 where `/proc` is not available.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * 4096
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_this_process_is_measured() {
        assert!(resident_bytes() > 1 << 20);
    }
}

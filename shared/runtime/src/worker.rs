//! The worker: what a service implements to be run by [`crate::serve`].

use crate::{
    ConnectArgs, JobContext, JobError, LogFormat, StallLimit, connect::seconds,
    metrics::MetricDefinition,
};
use cedm_contract::{JobResult, Service};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

/// What a finished job returns; the runtime writes the manifest from it.
#[derive(Debug)]
pub struct Outcome {
    /// Its result, as the manifest will hold it.
    pub result: JobResult,
    /// Measurements of the run (seconds, images per second), kept in the manifest outside its
    /// digest.
    pub metrics: BTreeMap<String, f64>,
}

/// Where a worker computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputeDevice {
    /// `cpu`, or the accelerator's name as `cuda:0`.
    pub name: String,
    /// Why there and not elsewhere, in words.
    pub reason: String,
    /// Whether the same job gives the same bits again there.
    pub deterministic: bool,
}

impl ComputeDevice {
    /// The CPU, for a service whose jobs need no tensors.
    pub fn cpu_only() -> Self {
        Self {
            name: "cpu".to_owned(),
            reason: "its jobs need no accelerator".to_owned(),
            deterministic: true,
        }
    }
}

/// A service's own part: performs one job at a time on the compute thread.
pub trait Worker: Send + 'static {
    /// Which service this is; it pulls the kinds of [`Service::kinds`].
    fn service(&self) -> Service;
    /// The device it computes on: for the lineage, the heartbeat, the log and a metric.
    fn device(&self) -> ComputeDevice;
    /// The service's own metrics, the list that [`crate::metrics!`] makes. They are registered at
    /// start, so that every series exists from the first scrape.
    fn metrics(&self) -> &'static [&'static MetricDefinition] {
        &[]
    }
    /// Performs one job. Outputs go through [`JobContext::put`]; a panic counts as
    /// [`JobError::Bug`].
    ///
    /// # Errors
    /// Any; the variant decides whether the job is retried, rejected or returned to the queue.
    fn perform(&mut self, context: &JobContext) -> Result<Outcome, JobError>;
}

/// Options of `serve`, the same for every service (clap: `#[command(flatten)]`).
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// NATS and the store.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Log lines: json, or human.
    #[arg(
        long,
        env = "CEDM_LOG_FORMAT",
        value_enum,
        default_value_t,
        help_heading = "Process"
    )]
    pub log: LogFormat,
    /// Address of /metrics, /livez and /readyz; port 0 takes a free one, the log names it.
    #[arg(
        long,
        env = "CEDM_LISTEN",
        default_value = "127.0.0.1:0",
        help_heading = "Process"
    )]
    pub listen: SocketAddr,
    /// Seconds that the current job may take after SIGTERM; then it is returned to the queue and
    /// the process ends.
    #[arg(long, env = "CEDM_GRACE_S", default_value = "25", value_parser = seconds, help_heading = "Process")]
    pub grace_s: Duration,
    /// Exit after this many seconds without a job.
    #[arg(long, value_parser = seconds, help_heading = "Process")]
    pub exit_when_idle: Option<Duration>,
    /// Exit after this many jobs.
    #[arg(long, help_heading = "Process")]
    pub max_jobs: Option<u64>,
    /// Seconds between two polls of the queue while no publish wakes the worker.
    #[arg(long, env = "CEDM_POLL_S", default_value = "1", value_parser = seconds, help_heading = "Process")]
    pub poll_s: Duration,
    /// Exit when standard input closes, that is, with the process that started this one.
    #[arg(long, help_heading = "Process")]
    pub exit_with_parent: bool,
    /// Failed attempts at one job before it goes to the dead letters.
    #[arg(long, env = "CEDM_MAX_ATTEMPTS", default_value = "5", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Jobs")]
    pub max_attempts: u64,
    /// Seconds between checkpoints of a long job.
    #[arg(long, env = "CEDM_CHECKPOINT_EVERY_S", default_value = "60", value_parser = seconds, help_heading = "Jobs")]
    pub checkpoint_every_s: Duration,
    /// Seconds that a job may show no progress before its attempt fails and the process exits, for
    /// all kinds or for one: `900` or `train=600,score=7200`. Defaults by kind: 900 to 14400.
    #[arg(
        long,
        env = "CEDM_STALL_AFTER_S",
        value_delimiter = ',',
        value_name = "[KIND=]SECONDS",
        help_heading = "Jobs"
    )]
    pub stall_after_s: Vec<StallLimit>,
    /// Folder of the node's object cache; default: `cedm` below the user's cache folder.
    #[arg(long, env = "CEDM_CACHE_DIR", help_heading = "Jobs")]
    pub cache_dir: Option<PathBuf>,
    /// Largest size of the object cache in bytes.
    #[arg(
        long,
        env = "CEDM_CACHE_BYTES",
        default_value = "8589934592",
        help_heading = "Jobs"
    )]
    pub cache_bytes: u64,
}

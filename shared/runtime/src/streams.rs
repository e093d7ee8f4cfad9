//! Streams, buckets and consumers as `deploy/jetstream.toml` describes them, created or brought up
//! to date.

use crate::RuntimeError;
use async_nats::jetstream::{
    Context, ErrorCode,
    consumer::{AckPolicy, pull},
    context::GetStreamErrorKind,
    kv,
    stream::{self, DiscardPolicy, RetentionPolicy, StorageType},
};
use cedm_contract::{JOBS_STREAM, Kind, Priority};
use serde::Deserialize;
use std::time::Duration;

const DEFINITION: &str = include_str!("../../../deploy/jetstream.toml");

/// The content of `deploy/jetstream.toml`: streams and buckets.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    stream: Vec<Stream>,
    bucket: Vec<Bucket>,
    consumer: Consumer,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    name: String,
    description: String,
    subjects: Vec<String>,
    retention: Retention,
    discard: Discard,
    #[serde(default)]
    discard_new_per_subject: bool,
    #[serde(default = "unlimited")]
    max_msgs_per_subject: i64,
    #[serde(default = "unlimited_i32")]
    max_msg_bytes: i32,
    #[serde(default)]
    max_age_s: u64,
    #[serde(default)]
    duplicate_window_s: u64,
    #[serde(default)]
    schedules: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Retention {
    WorkQueue,
    Limits,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Discard {
    New,
    Old,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bucket {
    name: String,
    description: String,
    history: i64,
    #[serde(default)]
    ttl_s: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Consumer {
    ack_wait_s: u64,
    max_deliver: i64,
    max_ack_pending: i64,
}

fn unlimited() -> i64 {
    -1
}
fn unlimited_i32() -> i32 {
    -1
}

fn definition() -> Definition {
    toml::from_str(DEFINITION)
        .expect("invariant: deploy/jetstream.toml is part of the build and a test parses it")
}

/// `ack_wait` and the delivery budget in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivering {
    /// How long the broker waits for a progress acknowledgement before it redelivers the job to
    /// another worker.
    pub ack_wait: Duration,
    /// Deliveries before the broker stops delivering a job.
    pub max_deliver: i64,
}

impl Delivering {
    /// The settings of `deploy/jetstream.toml`, with another `ack_wait` where one is given.
    pub fn with_ack_wait(ack_wait: Option<Duration>) -> Self {
        let consumer = definition().consumer;
        Self {
            ack_wait: ack_wait.unwrap_or(Duration::from_secs(consumer.ack_wait_s)),
            max_deliver: consumer.max_deliver,
        }
    }
}

/// The durable consumer of a kind and priority.
pub fn consumer_name(kind: Kind, priority: Priority) -> String {
    format!("{kind}-{priority}")
}

/// Kinds that travel through the queue, with every priority.
pub(crate) fn lanes() -> impl Iterator<Item = (Kind, Priority)> {
    let queued = Kind::ALL.iter().copied().filter(|kind| kind.is_queued());
    queued.flat_map(|kind| Priority::ALL.map(|priority| (kind, priority)))
}

/// Creates what is missing and updates what differs. Safe to run from several programs at once.
///
/// Nothing is altered before all streams and buckets of these names are found to be ours: on an
/// account of several applications an update would take another's subjects and messages from it.
pub(crate) async fn ensure(js: &Context, delivering: Delivering) -> Result<(), RuntimeError> {
    let definition = definition();
    let mut configs = Vec::new();
    for stream in &definition.stream {
        let existing = existing(js, &stream.name).await?;
        if let Some(existing) = &existing {
            stream.check_ours(existing)?;
        }
        configs.push(stream.config(replicas(existing.as_ref())));
    }
    let mut buckets = Vec::new();
    for bucket in &definition.bucket {
        let existing = existing(js, &format!("KV_{}", bucket.name)).await?;
        if let Some(existing) = &existing {
            bucket.check_ours(existing)?;
        }
        buckets.push(bucket.config(replicas(existing.as_ref())));
    }
    for config in configs {
        let (name, schedules) = (config.name.clone(), config.allow_message_schedules);
        let made = js
            .create_or_update_stream(config)
            .await
            .map_err(|error| RuntimeError::broker(format!("create stream {name}"), error))?;
        // A server before 2.12 ignores what it does not know: each retry would be lost.
        if schedules && !made.config.allow_message_schedules {
            return Err(anyhow::anyhow!(
                "stream {name}: the NATS server (version {}) does not schedule messages, expected version 2.12 or later",
                js.client().server_info().version
            )
            .into());
        }
    }
    for config in buckets {
        let name = config.bucket.clone();
        let made = js.create_or_update_key_value(config).await;
        made.map_err(|error| RuntimeError::broker(format!("create bucket {name}"), error))?;
    }
    let made = lanes().map(|(kind, priority)| {
        let config = definition.consumer.config(kind, priority, delivering);
        async move {
            let name = consumer_name(kind, priority);
            let made = js.create_consumer_on_stream(config, JOBS_STREAM).await;
            made.map(|_| ())
                .map_err(|error| RuntimeError::broker(format!("create consumer {name}"), error))
        }
    });
    futures::future::try_join_all(made).await.map(|_| ())
}

/// The configuration of a stream of that name, whoever made it.
async fn existing(js: &Context, stream: &str) -> Result<Option<stream::Config>, RuntimeError> {
    match js.get_stream(stream).await {
        Ok(found) => Ok(Some(found.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(answer)
                if answer.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(RuntimeError::broker(
                format!("look up stream {stream}"),
                error,
            )),
        },
    }
}

/// How many servers keep a stream: what an operator of a cluster has chosen stays as it is; a new
/// stream has one.
fn replicas(existing: Option<&stream::Config>) -> usize {
    existing.map_or(1, |config| config.num_replicas.max(1))
}

/// Whether all streams of the definition exist.
pub(crate) async fn exist(js: &Context) -> bool {
    for stream in &definition().stream {
        if js.get_stream(&stream.name).await.is_err() {
            return false;
        }
    }
    true
}

/// The depth of one lane (kind and priority) of the work queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Kind of the lane's jobs.
    pub kind: Kind,
    /// Priority of the lane's jobs.
    pub priority: Priority,
    /// Jobs that were not delivered yet.
    pub pending: u64,
    /// Jobs being performed, or due for another delivery.
    pub ack_pending: u64,
    /// Of those, delivered more than once.
    pub redelivered: u64,
}

/// The depth of every lane, as the leader of each consumer reports it.
///
/// # Errors
/// When NATS fails.
pub async fn queue_depths(connection: &crate::Connection) -> Result<Vec<Depth>, RuntimeError> {
    let stream = connection
        .queue
        .context()
        .get_stream_no_info(JOBS_STREAM)
        .await
        .map_err(|error| RuntimeError::broker("get stream", error))?;
    let asked = lanes().map(|(kind, priority)| {
        let stream = &stream;
        async move {
            let name = consumer_name(kind, priority);
            let info = stream
                .consumer_info(&name)
                .await
                .map_err(|error| RuntimeError::broker(format!("consumer {name}"), error))?;
            let (ack_pending, redelivered) =
                (info.num_ack_pending as u64, info.num_redelivered as u64);
            Ok::<_, RuntimeError>(Depth {
                kind,
                priority,
                pending: info.num_pending,
                ack_pending,
                redelivered,
            })
        }
    });
    futures::future::try_join_all(asked).await
}

impl Stream {
    /// Whether an existing stream of this name is ours: it is described as ours, or captures one of
    /// our subjects, which no other stream of the account can capture then.
    fn check_ours(&self, existing: &stream::Config) -> Result<(), RuntimeError> {
        let ours = existing.description.as_deref() == Some(self.description.as_str())
            || existing
                .subjects
                .iter()
                .any(|subject| self.subjects.contains(subject));
        if ours {
            return Ok(());
        }
        Err(anyhow::anyhow!(
            "stream {} belongs to another application: its subjects are {:?}, expected {:?}; it was left as it is. \
             Give C-EDM a NATS account of its own",
            self.name,
            existing.subjects,
            self.subjects
        )
        .into())
    }

    fn config(&self, num_replicas: usize) -> stream::Config {
        stream::Config {
            name: self.name.clone(),
            description: Some(self.description.clone()),
            subjects: self.subjects.clone(),
            retention: match self.retention {
                Retention::WorkQueue => RetentionPolicy::WorkQueue,
                Retention::Limits => RetentionPolicy::Limits,
            },
            discard: match self.discard {
                Discard::New => DiscardPolicy::New,
                Discard::Old => DiscardPolicy::Old,
            },
            discard_new_per_subject: self.discard_new_per_subject,
            max_messages_per_subject: self.max_msgs_per_subject,
            max_message_size: self.max_msg_bytes,
            max_age: Duration::from_secs(self.max_age_s),
            duplicate_window: Duration::from_secs(self.duplicate_window_s),
            storage: StorageType::File,
            num_replicas,
            allow_direct: true,
            allow_message_schedules: self.schedules,
            ..Default::default()
        }
    }
}

impl Bucket {
    /// Whether an existing bucket of this name is ours: it is described as ours, or an update would
    /// remove none of its entries, as history and time to live are ours already.
    fn check_ours(&self, existing: &stream::Config) -> Result<(), RuntimeError> {
        let (history, ttl) = (existing.max_messages_per_subject, existing.max_age);
        let ours = existing.description.as_deref() == Some(self.description.as_str())
            || (history == self.history && ttl == Duration::from_secs(self.ttl_s));
        if ours {
            return Ok(());
        }
        Err(anyhow::anyhow!(
            "bucket {} belongs to another application: history {history} and time to live {} s, expected {} and {} s; \
             it was left as it is. Give C-EDM a NATS account of its own",
            self.name,
            ttl.as_secs(),
            self.history,
            self.ttl_s
        )
        .into())
    }

    fn config(&self, num_replicas: usize) -> kv::Config {
        kv::Config {
            bucket: self.name.clone(),
            description: self.description.clone(),
            history: self.history,
            max_age: Duration::from_secs(self.ttl_s),
            storage: StorageType::File,
            num_replicas,
            ..Default::default()
        }
    }
}

impl Consumer {
    fn config(&self, kind: Kind, priority: Priority, delivering: Delivering) -> pull::Config {
        pull::Config {
            durable_name: Some(consumer_name(kind, priority)),
            filter_subject: format!("cedm.job.{kind}.{priority}.>"),
            ack_policy: AckPolicy::Explicit,
            ack_wait: delivering.ack_wait,
            max_deliver: delivering.max_deliver,
            max_ack_pending: self.max_ack_pending,
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_what_the_protocol_needs() {
        let definition = definition();
        let jobs = &definition.stream[0];
        assert_eq!(jobs.name, JOBS_STREAM);
        assert!(jobs.discard_new_per_subject && jobs.max_msgs_per_subject == 1);
        assert!(matches!(
            (jobs.retention, jobs.discard),
            (Retention::WorkQueue, Discard::New)
        ));
        let streams: Vec<&str> = definition
            .stream
            .iter()
            .map(|stream| stream.name.as_str())
            .collect();
        assert_eq!(streams, ["JOBS", "DELAYS", "EVENTS", "ADVISORIES", "DEAD"]);
        assert!(definition.stream[1].schedules);
        let names: std::collections::BTreeSet<String> = lanes()
            .map(|(kind, priority)| consumer_name(kind, priority))
            .collect();
        let queued = Kind::ALL.iter().filter(|kind| kind.is_queued()).count();
        assert_eq!(
            names.len(),
            queued * Priority::ALL.len(),
            "one durable consumer for each kind and priority"
        );
    }
}

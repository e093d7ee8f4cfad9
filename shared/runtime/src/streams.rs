//! Streams, buckets and consumers as `deploy/jetstream.toml` describes them, created or brought up
//! to date.

mod definition;
mod depths;
mod migration;
mod ownership;

pub use depths::{Delays, Depth, delays, has_consumer, queue_depths};

use crate::{RuntimeError, queue::NatsQueue};
use async_nats::jetstream::{
    Context, ErrorCode,
    context::{CreateStreamErrorKind, GetStreamErrorKind},
    response::Response,
    stream::{self, Info},
};
use cedm_contract::{
    ADVISORIES_STREAM, DEAD_STREAM, DELAYS_STREAM, EVENTS_STREAM, JOBS_STREAM, Kind, Names,
    Priority,
};
use definition::Definition;
use serde::Deserialize;
use std::time::Duration;

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
        let consumer = Definition::of(&Names::default()).consumer;
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
pub(crate) async fn ensure(queue: &NatsQueue, delivering: Delivering) -> Result<(), RuntimeError> {
    let names = queue.names();
    let definition = Definition::of(names);
    let mut found = Vec::new();
    for config in definition.configs(names) {
        let existing = existing(queue, &config.name).await?;
        if let Some(existing) = &existing {
            ownership::check(names, existing)?;
        }
        found.push((config, existing));
    }
    migration::make_room(queue).await?;
    for (config, existing) in found {
        create_or_update(queue.context(), config, existing).await?;
    }
    migration::move_letters(queue).await?;
    let made = lanes().map(|(kind, priority)| ensure_consumer(queue, kind, priority, delivering));
    futures::future::try_join_all(made).await.map(|_| ())
}

async fn create_or_update(
    js: &Context,
    config: stream::Config,
    existing: Option<stream::Config>,
) -> Result<(), RuntimeError> {
    let (name, schedules) = (config.name.clone(), config.allow_message_schedules);
    let made = match existing {
        // How many servers keep a stream is the operator's choice.
        Some(existing) => {
            let num_replicas = existing.num_replicas.max(1);
            let updated = js.update_stream(stream::Config {
                num_replicas,
                ..config
            });
            let updated = updated.await;
            updated.map_err(|error| RuntimeError::broker(format!("update stream {name}"), error))?
        }
        // Never an update: another application may have made one of this name since.
        None => match js.create_stream(&config).await {
            Ok(made) => made.cached_info().clone(),
            Err(error) => {
                let CreateStreamErrorKind::JetStream(answer) = error.kind() else {
                    return Err(RuntimeError::broker(format!("create stream {name}"), error));
                };
                return Err(refused(js, &config, answer.error_code(), error).await);
            }
        },
    };
    // A server before 2.12 ignores what it does not know: each retry would be lost.
    if schedules && !made.config.allow_message_schedules {
        let version = js.client().server_info().version;
        return Err(anyhow::anyhow!(
            "stream {name}: the NATS server (version {version}) does not schedule messages, expected version 2.12 or later"
        )
        .into());
    }
    Ok(())
}

/// Why the server did not create a stream, in words that help.
async fn refused(
    js: &Context,
    config: &stream::Config,
    code: ErrorCode,
    error: impl std::error::Error + Send + Sync + 'static,
) -> RuntimeError {
    let name = &config.name;
    match code {
        ErrorCode::STREAM_SUBJECT_OVERLAP => {
            let holders = overlapping(js, config).await;
            anyhow::anyhow!(
                "stream {name} cannot be created: its subjects {:?} are those of {holders}, of another application; \
                 nothing of it was altered. Give C-EDM a prefix of its own (CEDM_NATS_PREFIX) or a NATS account of its own",
                config.subjects
            )
            .into()
        }
        ErrorCode::STORAGE_RESOURCES_EXCEEDED => anyhow::anyhow!(
            "stream {name} cannot be created: it keeps {} MiB free, more than the NATS server's storage has left \
             (max_file_store, or the limit of the account)",
            config.max_bytes >> 20
        )
        .into(),
        _ => RuntimeError::broker(format!("create stream {name}"), error),
    }
}

/// The streams that capture one of these subjects already, for an error text.
async fn overlapping(js: &Context, config: &stream::Config) -> String {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default)]
        streams: Option<Vec<String>>,
    }
    let mut holders = Vec::new();
    for subject in &config.subjects {
        let filter = serde_json::json!({"subject": subject});
        let listed = js.request("STREAM.NAMES", &filter).await;
        if let Ok(Response::Ok(Listed { streams })) = listed {
            holders.extend(streams.unwrap_or_default());
        }
    }
    holders.dedup();
    match holders.as_slice() {
        [] => "a stream that is not listed".to_owned(),
        holders => format!("stream {}", holders.join(", ")),
    }
}

/// Creates the durable consumer of a lane, or brings it up to date.
pub(crate) async fn ensure_consumer(
    queue: &NatsQueue,
    kind: Kind,
    priority: Priority,
    delivering: Delivering,
) -> Result<(), RuntimeError> {
    let names = queue.names();
    let config = Definition::of(names)
        .consumer
        .config(names, kind, priority, delivering);
    let stream = names.stream(JOBS_STREAM);
    let made = queue.context().create_consumer_on_stream(config, stream);
    let made = made.await;
    made.map(|_| ()).map_err(|error| {
        let name = consumer_name(kind, priority);
        RuntimeError::broker(format!("create consumer {name}"), error)
    })
}

/// The configuration of a stream of that name, whoever made it.
async fn existing(queue: &NatsQueue, stream: &str) -> Result<Option<stream::Config>, RuntimeError> {
    match queue.context().get_stream(stream).await {
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

/// Whether all streams exist; where the broker does not answer, they do not.
///
/// # Errors
/// When one of them belongs to another application.
pub(crate) async fn exist(queue: &NatsQueue) -> Result<bool, RuntimeError> {
    let names = queue.names();
    for name in [
        JOBS_STREAM,
        DELAYS_STREAM,
        EVENTS_STREAM,
        ADVISORIES_STREAM,
        DEAD_STREAM,
    ] {
        match existing(queue, &names.stream(name)).await {
            Ok(Some(config)) => ownership::check(names, &config)?,
            Ok(None) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether JetStream answers at all, and for this account.
pub(crate) enum JetStream {
    /// It does, or there is a chance that it soon will.
    Answers,
    /// Nobody listens for its requests.
    Nobody,
    /// The server says that it is switched off.
    Disabled(String),
}

/// Asks JetStream for a stream, which need not exist.
pub(crate) async fn probe(queue: &NatsQueue) -> JetStream {
    use async_nats::jetstream::context::RequestErrorKind;
    let subject = format!("STREAM.INFO.{}", queue.names().stream(JOBS_STREAM));
    match queue
        .context()
        .request::<_, _, Response<Info>>(subject, &())
        .await
    {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => JetStream::Nobody,
        Ok(Response::Err { error })
            if [
                ErrorCode::JETSTREAM_NOT_ENABLED,
                ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
            ]
            .contains(&error.error_code()) =>
        {
            JetStream::Disabled(error.to_string())
        }
        _ => JetStream::Answers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_and_priority_has_a_durable_consumer() {
        let names: std::collections::BTreeSet<String> = lanes()
            .map(|(kind, priority)| consumer_name(kind, priority))
            .collect();
        let queued = Kind::ALL.iter().filter(|kind| kind.is_queued()).count();
        assert_eq!(names.len(), queued * Priority::ALL.len());
    }
}

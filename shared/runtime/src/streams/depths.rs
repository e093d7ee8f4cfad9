//! How much waits in the queue, and how much for its next try.

use super::{consumer_name, lanes};
use crate::{RuntimeError, Submitter};
use async_nats::jetstream::{context::ConsumerInfoErrorKind, stream::Stream};
use cedm_contract::{DELAYS_STREAM, JOBS_STREAM, Kind, Priority};
use std::{collections::BTreeMap, time::Duration};

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

/// The stream of the work queue, without a question about its state.
async fn jobs_stream(connection: &crate::Connection) -> Result<Stream<()>, RuntimeError> {
    let queue = &connection.queue;
    let stream = queue
        .context()
        .get_stream_no_info(queue.names().stream(JOBS_STREAM));
    stream
        .await
        .map_err(|error| RuntimeError::broker("get stream", error))
}

/// The depth of every lane, as the leader of each consumer reports it.
///
/// # Errors
/// When NATS fails.
pub async fn queue_depths(connection: &crate::Connection) -> Result<Vec<Depth>, RuntimeError> {
    let stream = jobs_stream(connection).await?;
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

/// Whether jobs of a lane reach anybody at present: `false` when its consumer or the queue's stream
/// was removed, until a worker or the coordinator has made it again.
///
/// # Errors
/// When NATS fails.
pub async fn has_consumer(
    connection: &crate::Connection,
    kind: Kind,
    priority: Priority,
) -> Result<bool, RuntimeError> {
    let stream = jobs_stream(connection).await?;
    let name = consumer_name(kind, priority);
    match stream.consumer_info(&name).await {
        Ok(_) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(RuntimeError::broker(format!("consumer {name}"), error)),
    }
}

/// Jobs that wait for the time of their next try.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delays {
    /// How many of each kind; a kind without any is left out.
    pub jobs: BTreeMap<Kind, u64>,
    /// How long the oldest message has been there; `None` without any. No delay is longer than ten
    /// minutes, so more means that retries do not come back.
    pub oldest: Option<Duration>,
}

/// The delayed jobs.
///
/// # Errors
/// When NATS fails.
pub async fn delays(connection: &crate::Connection) -> Result<Delays, RuntimeError> {
    let mut delays = Delays::default();
    for job in Submitter::new(connection).outstanding(None).await? {
        if job.delayed {
            *delays.jobs.entry(job.kind).or_default() += 1;
        }
    }
    let queue = &connection.queue;
    let name = queue.names().stream(DELAYS_STREAM);
    let stream = queue.context().get_stream(&name).await;
    let stream =
        stream.map_err(|error| RuntimeError::broker(format!("look up stream {name}"), error))?;
    let state = &stream.cached_info().state;
    if state.messages > 0 {
        let age = queue.clock().await?.broker - state.first_timestamp;
        delays.oldest = Some(Duration::try_from(age).unwrap_or_default());
    }
    Ok(delays)
}

//! Events: live ones as they are published, and the history of a job from the stream. A reader
//! looks up the manifest when an event arrives and relies on that alone, so a lost event loses no
//! result.

use crate::{
    Connection, RuntimeError,
    undecodable::{Place, undecodable},
};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use cedm_contract::{
    Digest, EVENTS_STREAM, Event, EventWhat, JobKey, Kind, event_subject, filters,
};
use futures::{Stream, StreamExt};
use std::time::Duration;

/// Which events to read: those that match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of one kind of job.
    pub kind: Option<Kind>,
    /// Only events of this type.
    pub what: Option<EventWhat>,
    /// Only events of the job with this key.
    pub key: Option<JobKey>,
}

impl EventFilter {
    fn subject(&self) -> String {
        filters::events(self.kind, self.what, self.key.as_ref())
    }
}

/// Events from now on, without the stream in between: the least delay, and none is repeated. Some
/// may be missed while the connection is down, so reconcile from time to time.
///
/// # Errors
/// When NATS fails.
pub async fn live_events(
    connection: &Connection,
    filter: &EventFilter,
) -> Result<impl Stream<Item = Event> + Send + Unpin + use<>, RuntimeError> {
    let (client, names) = (connection.queue.client(), connection.queue.names().clone());
    let messages = client
        .subscribe(names.to_wire(&filter.subject()))
        .await
        .map_err(|error| RuntimeError::broker("subscribe to events", error))?;
    client
        .flush()
        .await
        .map_err(|error| RuntimeError::broker("subscribe to events", error))?;
    Ok(messages
        .filter_map(move |message| {
            let subject = names.from_wire(&message.subject);
            std::future::ready(read(&subject, &message.payload))
        })
        .boxed())
}

/// The events that the stream holds, oldest first.
///
/// # Errors
/// When NATS fails.
pub async fn past_events(
    connection: &Connection,
    filter: &EventFilter,
) -> Result<Vec<Event>, RuntimeError> {
    let mut events = Vec::new();
    let mut add = |subject: String, _, payload: &[u8]| events.extend(read(&subject, payload));
    past_messages(connection, &filter.subject(), &mut add).await?;
    Ok(events)
}

/// A message among the events that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableEvent {
    /// Subject under which it is stored.
    pub subject: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// Size of the message in bytes.
    pub bytes: usize,
    /// Why it cannot be read.
    pub reason: String,
}

/// Everything in the stream of events that is none, oldest first.
///
/// # Errors
/// When NATS fails.
pub async fn unreadable_events(
    connection: &Connection,
) -> Result<Vec<UnreadableEvent>, RuntimeError> {
    let mut found = Vec::new();
    let mut add = |subject: String, sequence, payload: &[u8]| {
        if let Err(reason) = checked(&subject, payload) {
            found.push(UnreadableEvent {
                subject,
                sequence,
                bytes: payload.len(),
                reason,
            });
        }
    };
    past_messages(connection, filters::EVENTS, &mut add).await?;
    Ok(found)
}

/// Removes a message from the stream of events that is none; `false` when it is not there.
///
/// # Errors
/// When it is an event, or NATS fails.
pub async fn forget_event(
    connection: &Connection,
    subject: &str,
    sequence: u64,
) -> Result<bool, RuntimeError> {
    let queue = &connection.queue;
    let stored = queue.at(EVENTS_STREAM, sequence).await?;
    let Some(stored) = stored.filter(|stored| stored.subject == subject) else {
        return Ok(false);
    };
    if checked(subject, &stored.payload).is_ok() {
        return Err(anyhow::anyhow!(
            "`{subject}` {sequence} is an event, which nobody needs to remove"
        )
        .into());
    }
    Ok(queue.remove(EVENTS_STREAM, sequence).await?)
}

/// Hands every message of the stream of events below a subject to `use_it`, with subject and
/// sequence, oldest first.
async fn past_messages(
    connection: &Connection,
    subject: &str,
    use_it: &mut (impl FnMut(String, u64, &[u8]) + Send),
) -> Result<(), RuntimeError> {
    let names = connection.queue.names();
    let config = pull::Config {
        filter_subject: names.to_wire(subject),
        ack_policy: AckPolicy::None,
        deliver_policy: DeliverPolicy::All,
        inactive_threshold: Duration::from_secs(30),
        memory_storage: true,
        ..Default::default()
    };
    let consumer = connection
        .queue
        .context()
        .create_consumer_on_stream(config, names.stream(EVENTS_STREAM))
        .await;
    let consumer = consumer.map_err(|error| RuntimeError::broker("read events", error))?;
    let mut left = consumer.cached_info().num_pending;
    while left > 0 {
        let wanted = usize::try_from(left.min(256)).unwrap_or(256);
        let batch = consumer
            .fetch()
            .max_messages(wanted)
            .expires(Duration::from_secs(5))
            .messages()
            .await;
        let mut batch = batch.map_err(|error| RuntimeError::broker("read events", error))?;
        let mut got = 0;
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("read events: {error}"))?;
            let info = message.info();
            let sequence = info.map(|info| info.stream_sequence).unwrap_or_default();
            use_it(
                names.from_wire(&message.subject),
                sequence,
                &message.payload,
            );
            got += 1;
        }
        if got == 0 {
            break;
        }
        left = left.saturating_sub(got);
    }
    Ok(())
}

/// The event of a message; `None` where it is none, which is counted.
fn read(subject: &str, payload: &[u8]) -> Option<Event> {
    checked(subject, payload)
        .inspect_err(|reason| {
            let name = format!("{subject} {}", Digest::of(payload).short());
            undecodable(Place::Events, &name, reason);
        })
        .ok()
}

/// The event of a message, or why it is none. One that this build does not understand is none of
/// its business, and one that says something else than its subject is no event: its sender may say
/// that only elsewhere.
fn checked(subject: &str, payload: &[u8]) -> Result<Event, String> {
    let event = rmp_serde::from_slice::<Event>(payload).map_err(|error| error.to_string())?;
    let own = event_subject(event.kind, event.what, &event.key);
    if own == subject {
        Ok(event)
    } else {
        Err(format!("the event is that of `{own}`"))
    }
}

//! The queue over JetStream.

mod lookup;

use super::{Delivery, Envelope, Published, Queue, QueueError, Receipt};
use crate::{
    RetryPolicy,
    clock::{self, Reading},
    streams::{Delivering, consumer_name, ensure_consumer},
};
use async_nats::{
    Client, HeaderMap, StatusCode, Subscriber,
    header::{NATS_MESSAGE_ID, NATS_SCHEDULE, NATS_SCHEDULE_TARGET},
    jetstream::{
        AckKind, Context, ErrorCode, Message, context::PublishError, message::PublishMessage,
    },
};
use bytes::Bytes;
use cedm_contract::{
    DELAYS_STREAM, DeadLetter, Event, JOBS_STREAM, JobKey, Kind, Names, Priority, dead_subject,
    delay_subject, due_subject, event_subject, job_subject,
};
use futures::{FutureExt, StreamExt};
use std::{
    collections::BTreeSet,
    error::Error,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::{Mutex, watch};

/// A publish whose answer is lost is repeated with the same message id.
const PUBLISH: RetryPolicy =
    RetryPolicy::doubling(Duration::from_millis(200), Duration::from_millis(800)).at_most(4);
/// How long to wait for the answer to a pull that waits for nothing.
const PULL_TIMEOUT: Duration = Duration::from_secs(5);
/// "maximum messages per subject exceeded": the subject holds a job already.
const SUBJECT_OCCUPIED: ErrorCode = ErrorCode(10077);

/// The queue on NATS JetStream.
#[derive(Debug, Clone)]
pub(crate) struct NatsQueue {
    client: Client,
    js: Context,
    /// What streams and subjects are called on the wire.
    names: Names,
    /// First tokens of JetStream's subjects, `$JS.API` unless another domain is asked.
    api: String,
    delivering: Delivering,
    /// Whether the client is connected to NATS.
    connected: watch::Receiver<bool>,
    deliveries: Arc<Mutex<Option<Inbox>>>,
    /// Lanes whose consumer has answered a pull of this process.
    answered: Arc<std::sync::Mutex<BTreeSet<(Kind, Priority)>>>,
}

/// Where pulled jobs arrive. It stays open between pulls, so that a job that arrives after its pull
/// has timed out is taken by the next pull instead of waiting for `ack_wait`.
#[derive(Debug)]
struct Inbox {
    subject: String,
    messages: Subscriber,
}

fn fail<E: Into<Box<dyn Error + Send + Sync>>>(
    action: &'static str,
) -> impl FnOnce(E) -> QueueError {
    move |error| QueueError::new(action, error)
}

impl NatsQueue {
    /// A queue over an open connection. `api` are the first tokens of JetStream's subjects.
    pub(crate) fn new(
        client: Client,
        api: &str,
        names: Names,
        delivering: Delivering,
        connected: watch::Receiver<bool>,
    ) -> Self {
        Self {
            js: async_nats::jetstream::with_prefix(client.clone(), api),
            client,
            names,
            api: api.to_owned(),
            delivering,
            connected,
            deliveries: Arc::default(),
            answered: Arc::default(),
        }
    }

    fn answered(&self) -> MutexGuard<'_, BTreeSet<(Kind, Priority)>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What streams and subjects are called on the wire.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn context(&self) -> &Context {
        &self.js
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Publishes and waits for the acknowledgement, for a publish by itself only buffers; a lost
    /// answer is asked for again under the same message id.
    async fn store(
        &self,
        action: &'static str,
        subject: String,
        mut headers: HeaderMap,
        payload: Bytes,
        id: &str,
    ) -> Result<Published, QueueError> {
        headers.insert(NATS_MESSAGE_ID, id);
        let subject = self.names.to_wire(&subject);
        let publish = || async {
            let message = PublishMessage::build()
                .payload(payload.clone())
                .headers(headers.clone());
            self.js.send_publish(subject.clone(), message).await?.await
        };
        // A server that answers with a code has understood and refused: it would refuse again.
        let is_unanswered = |error: &PublishError| server_code(error).is_none();
        match PUBLISH.retry(action, is_unanswered, publish).await {
            Ok(_) => Ok(Published::Stored),
            Err(error) if server_code(&error) == Some(SUBJECT_OCCUPIED) => Ok(Published::Occupied),
            Err(error) => Err(QueueError::new(action, error)),
        }
    }

    /// The broker's time, which every answer about a stream carries.
    pub(crate) async fn clock(&self) -> Result<Reading, QueueError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            ts: String,
        }
        const ACTION: &str = "ask for the time";
        let sent = clock::local();
        let subject = format!("STREAM.INFO.{}", self.names.stream(DELAYS_STREAM));
        let answer = self.js.request(subject, &()).await;
        let received = clock::local();
        let Answer { ts } = answer.map_err(fail(ACTION))?;
        Ok(Reading {
            sent,
            broker: OffsetDateTime::parse(&ts, &Rfc3339).map_err(fail(ACTION))?,
            received,
        })
    }

    async fn open_inbox(&self) -> Result<Inbox, QueueError> {
        let subject = self.client.new_inbox();
        let messages = self
            .client
            .subscribe(subject.clone())
            .await
            .map_err(fail("pull"))?;
        Ok(Inbox { subject, messages })
    }

    fn take_late(&self, inbox: &mut Inbox) -> Option<Delivery> {
        while let Some(Some(message)) = inbox.messages.next().now_or_never() {
            if let Ok(Some(delivery)) = self.delivery(message) {
                return Some(delivery);
            }
        }
        None
    }

    /// The delivered job, or `None` when the broker reports that there is none.
    fn delivery(&self, message: async_nats::Message) -> Result<Option<Delivery>, QueueError> {
        match message.status {
            None | Some(StatusCode::OK) => {}
            Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => return Ok(None),
            Some(StatusCode::NO_RESPONDERS) => {
                let what = "the stream or its consumer does not exist".to_owned();
                return Err(QueueError::missing("pull", what));
            }
            Some(status) => {
                let reason = message.description.as_deref().unwrap_or_default();
                let text = format!("{status} {reason}");
                // A pull that waited when its consumer was removed.
                return Err(if reason.eq_ignore_ascii_case("consumer deleted") {
                    QueueError::missing("pull", text)
                } else {
                    QueueError::new("pull", text)
                });
            }
        }
        let message = Message {
            message,
            context: self.js.clone(),
        };
        let info = message.info().map_err(fail("pull"))?;
        let (sequence, delivered) = (
            info.stream_sequence,
            u64::try_from(info.delivered).unwrap_or(1),
        );
        Ok(Some(Delivery {
            subject: self.names.from_wire(&message.subject),
            payload: message.payload.clone(),
            envelope: Envelope::of(message.headers.as_ref()),
            sequence,
            delivered,
            receipt: Box::new(message),
        }))
    }
}

/// The JetStream error code of the server's answer, where there was one.
fn server_code(error: &(dyn std::error::Error + 'static)) -> Option<ErrorCode> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(server) = error.downcast_ref::<async_nats::jetstream::Error>() {
            return Some(server.error_code());
        }
        cause = error.source();
    }
    None
}

/// RFC 3339 in UTC, whole seconds, never earlier than asked for: what `Nats-Schedule: @at` reads.
fn schedule_at(now: OffsetDateTime, after: Duration) -> String {
    let due = now.to_offset(time::UtcOffset::UTC) + after + Duration::from_millis(999);
    format!(
        "@at {:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        due.year(),
        u8::from(due.month()),
        due.day(),
        due.hour(),
        due.minute(),
        due.second()
    )
}

impl NatsQueue {
    /// One job of a lane, if one waits there.
    async fn pull_once(
        &self,
        kind: Kind,
        priority: Priority,
    ) -> Result<Option<Delivery>, QueueError> {
        let failed = |reason: String| QueueError::new("pull", reason);
        let mut connected = self.connected.clone();
        if !*connected.borrow_and_update() {
            // The client would keep the request and send it later, when nobody waits for its job
            // any more.
            return Err(failed("NATS is not connected".to_owned()));
        }
        let mut inbox = self.deliveries.lock().await;
        let inbox = match &mut *inbox {
            Some(inbox) => inbox,
            none => none.insert(self.open_inbox().await?),
        };
        if let Some(late) = self.take_late(inbox) {
            return Ok(Some(late));
        }
        let subject = format!(
            "{}.CONSUMER.MSG.NEXT.{}.{}",
            self.api,
            self.names.stream(JOBS_STREAM),
            consumer_name(kind, priority)
        );
        let request = Bytes::from_static(br#"{"batch":1,"no_wait":true}"#);
        self.client
            .publish_with_reply(subject, inbox.subject.clone(), request)
            .await
            .map_err(fail("pull"))?;
        tokio::select! {
            biased;
            message = inbox.messages.next() => match message {
                Some(message) => self.delivery(message),
                None => Err(failed("the connection is closed".to_owned())),
            },
            // A pull is lost with its connection.
            _ = connected.changed() => Err(failed("the connection was lost meanwhile".to_owned())),
            () = tokio::time::sleep(PULL_TIMEOUT) => Err(failed(format!("no answer within {} s", PULL_TIMEOUT.as_secs()))),
        }
    }
}

#[async_trait::async_trait]
impl Queue for NatsQueue {
    async fn pull(&self, kind: Kind, priority: Priority) -> Result<Option<Delivery>, QueueError> {
        let missing = match self.pull_once(kind, priority).await {
            Err(error) if error.is_missing => error,
            other => {
                if other.is_ok() {
                    self.answered().insert((kind, priority));
                }
                return other;
            }
        };
        // Somebody removed the consumer, or its stream with it. A stream is the coordinator's to
        // make.
        let made = ensure_consumer(self, kind, priority, self.delivering).await;
        if let Err(error) = made {
            let what = format!("{}: {}", missing.source, crate::error::chain(&error));
            return Err(QueueError::missing("pull", what));
        }
        if self.answered().contains(&(kind, priority)) {
            tracing::warn!(%kind, %priority, "the consumer of these jobs was gone; made again");
        } else {
            // A coordinator that starts at the same time makes one after the other.
            tracing::info!(%kind, %priority, "the consumer of these jobs was not there yet; made");
        }
        self.pull_once(kind, priority).await
    }

    async fn late_delivery(&self) -> Option<Delivery> {
        self.take_late(self.deliveries.lock().await.as_mut()?)
    }

    async fn publish(
        &self,
        lane: (Kind, Priority),
        key: &JobKey,
        payload: Bytes,
        envelope: Envelope,
        id: &str,
    ) -> Result<Published, QueueError> {
        self.store(
            "publish a job",
            job_subject(lane.0, lane.1, key),
            envelope.headers(),
            payload,
            id,
        )
        .await
    }

    async fn delay(
        &self,
        lane: (Kind, Priority),
        key: &JobKey,
        payload: Bytes,
        envelope: Envelope,
        after: Duration,
    ) -> Result<Published, QueueError> {
        let mut headers = envelope.headers();
        let now = self.clock().await?.broker;
        headers.insert(NATS_SCHEDULE, schedule_at(now, after));
        let due = self.names.to_wire(&due_subject(lane.0, lane.1, key));
        headers.insert(NATS_SCHEDULE_TARGET, due);
        let id = format!("delay-{}", ulid::Ulid::generate());
        self.store(
            "delay a job",
            delay_subject(lane.0, lane.1, key),
            headers,
            payload,
            &id,
        )
        .await
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        let id = format!("dead-{}", ulid::Ulid::generate());
        let subject = dead_subject(letter.kind, &letter.key);
        self.store(
            "store a dead letter",
            subject,
            Envelope::fresh().headers(),
            encode(letter),
            &id,
        )
        .await
        .map(|_| ())
    }

    async fn publish_event(&self, event: &Event, envelope: &Envelope) -> Result<(), QueueError> {
        let id = format!("event-{}", ulid::Ulid::generate());
        let subject = event_subject(event.kind, event.what, &event.key);
        self.store(
            "store an event",
            subject,
            envelope.headers(),
            encode(event),
            &id,
        )
        .await
        .map(|_| ())
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Bytes {
    rmp_serde::to_vec_named(value)
        .expect("invariant: events and letters are plain data and always encode")
        .into()
}

#[async_trait::async_trait]
impl Receipt for Message {
    async fn double_ack(&self) -> Result<(), QueueError> {
        Message::double_ack(self).await.map_err(fail("acknowledge"))
    }
    async fn nak(&self, after: Option<Duration>) -> Result<(), QueueError> {
        self.ack_with(AckKind::Nak(after))
            .await
            .map_err(fail("return to the queue"))
    }
    async fn progress(&self) -> Result<(), QueueError> {
        self.ack_with(AckKind::Progress)
            .await
            .map_err(fail("report progress"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_due_by_the_time_that_the_broker_told() {
        let told = OffsetDateTime::parse("2026-02-28T23:59:58.500+01:00", &Rfc3339).unwrap();
        for (seconds, expect) in [
            (0, "@at 2026-02-28T22:59:59Z"),
            (5, "@at 2026-02-28T23:00:04Z"),
            (90_000, "@at 2026-03-01T23:59:59Z"),
        ] {
            assert_eq!(schedule_at(told, Duration::from_secs(seconds)), expect);
        }
    }
}

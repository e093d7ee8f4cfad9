//! The queue over JetStream.

mod lookup;

use super::{Delivery, Envelope, Published, Queue, QueueError, Receipt};
use crate::{RetryPolicy, streams::consumer_name};
use async_nats::{
    Client, HeaderMap, StatusCode, Subscriber,
    header::{NATS_MESSAGE_ID, NATS_SCHEDULE, NATS_SCHEDULE_TARGET},
    jetstream::{
        AckKind, Context, ErrorCode, Message, context::PublishError, message::PublishMessage,
    },
};
use bytes::Bytes;
use cedm_contract::{
    DeadLetter, Event, JOBS_STREAM, JobKey, Kind, Priority, dead_subject, delay_subject,
    due_subject, event_subject, job_subject,
};
use futures::{FutureExt, StreamExt};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};
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
    /// Whether the client is connected to NATS.
    connected: watch::Receiver<bool>,
    deliveries: Arc<Mutex<Option<Inbox>>>,
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
    pub(crate) fn new(client: Client, js: Context, connected: watch::Receiver<bool>) -> Self {
        Self {
            client,
            js,
            connected,
            deliveries: Arc::default(),
        }
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
                return Err(QueueError::new(
                    "pull",
                    "the stream or its consumer does not exist",
                ));
            }
            Some(status) => {
                let reason = format!(
                    "{status} {}",
                    message.description.as_deref().unwrap_or_default()
                );
                return Err(QueueError::new("pull", reason));
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
            subject: message.subject.to_string(),
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
fn schedule_at(after: Duration) -> String {
    let due = time::OffsetDateTime::from(SystemTime::now() + after) + Duration::from_millis(999);
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

#[async_trait::async_trait]
impl Queue for NatsQueue {
    async fn pull(&self, kind: Kind, priority: Priority) -> Result<Option<Delivery>, QueueError> {
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
            "$JS.API.CONSUMER.MSG.NEXT.{JOBS_STREAM}.{}",
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
        headers.insert(NATS_SCHEDULE, schedule_at(after));
        headers.insert(NATS_SCHEDULE_TARGET, due_subject(lane.0, lane.1, key));
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

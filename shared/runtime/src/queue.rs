//! The queue as the protocol sees it: a small trait, JetStream behind it, a double in memory for
//! simulations.

mod nats;

pub(crate) use nats::NatsQueue;

use crate::{Envelope, error::Cause};
use bytes::Bytes;
use cedm_contract::{DeadLetter, Event, JobKey, Kind, Priority};
use std::error::Error;
use std::time::Duration;

/// A request to the broker failed; it may have had its effect.
#[derive(Debug, Clone, thiserror::Error)]
#[error("broker: {action}")]
pub struct QueueError {
    /// The request that failed, for the error text.
    pub action: &'static str,
    /// The error of the client library.
    pub source: Cause,
    /// Whether the stream or the consumer that was asked for does not exist.
    pub is_missing: bool,
}

impl QueueError {
    pub(crate) fn new(
        action: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            action,
            source: Cause::new(source),
            is_missing: false,
        }
    }

    /// The same, because a stream or a consumer does not exist.
    pub(crate) fn missing(action: &'static str, what: String) -> Self {
        Self {
            is_missing: true,
            ..Self::new(action, what)
        }
    }
}

/// How a publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The message is stored.
    Stored,
    /// Its subject already holds one.
    Occupied,
}

/// A job handed to this worker.
pub struct Delivery {
    /// Subject of the message, `cedm.job.<kind>.<priority>.<key>`.
    pub subject: String,
    /// The job as encoded MessagePack.
    pub payload: Bytes,
    /// Headers of the message: failures so far, time of queueing, trace.
    pub envelope: Envelope,
    /// Sequence in the stream.
    pub sequence: u64,
    /// How often it was delivered, this time included.
    pub delivered: u64,
    /// The way to answer.
    pub receipt: Box<dyn Receipt>,
}

/// The possible answers to a delivery. None of them proves that the job is still ours; only the
/// create-only put of the manifest does.
#[async_trait::async_trait]
pub trait Receipt: Send + Sync {
    /// Removes the job and waits for the broker's confirmation.
    async fn double_ack(&self) -> Result<(), QueueError>;
    /// Returns the job to the queue, for any worker, at once or after a delay.
    async fn nak(&self, after: Option<Duration>) -> Result<(), QueueError>;
    /// Restarts `ack_wait`: work continues.
    async fn progress(&self) -> Result<(), QueueError>;
}

/// A message of a stream.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Subject under which the message is stored.
    pub subject: String,
    /// Sequence of the message in its stream.
    pub sequence: u64,
    /// Payload of the message.
    pub payload: Bytes,
    /// Headers of the message: failures so far, time of queueing, trace.
    pub envelope: Envelope,
    /// When it was stored, in Unix milliseconds of the broker's clock.
    pub stored_ms: u64,
    /// When the broker publishes it again, as the header states: `@at <RFC 3339>`.
    pub(crate) schedule: Option<String>,
    /// Under which subject it does.
    pub(crate) schedule_target: Option<String>,
}

/// What workers, submitters and the redeliverer need from the broker.
#[async_trait::async_trait]
pub trait Queue: Send + Sync + 'static {
    /// One job of a kind and priority, if one waits. Never drop this future before it is ready: a
    /// job on its way to it would wait for `ack_wait`.
    async fn pull(&self, kind: Kind, priority: Priority) -> Result<Option<Delivery>, QueueError>;
    /// A job that arrived after its pull had stopped waiting, if there is one: it is delivered to
    /// this worker, so no other gets it before `ack_wait` has passed.
    async fn late_delivery(&self) -> Option<Delivery>;
    /// Publishes a job; `id` makes a repeated publish harmless.
    async fn publish(
        &self,
        lane: (Kind, Priority),
        key: &JobKey,
        payload: Bytes,
        envelope: Envelope,
        id: &str,
    ) -> Result<Published, QueueError>;
    /// Stores a job that enters its queue after a while. It is as durable as the queue.
    async fn delay(
        &self,
        lane: (Kind, Priority),
        key: &JobKey,
        payload: Bytes,
        envelope: Envelope,
        after: Duration,
    ) -> Result<Published, QueueError>;
    /// Stores a dead letter in place of an earlier one of the same job.
    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), QueueError>;
    /// Stores an event in the EVENTS stream.
    async fn publish_event(&self, event: &Event, envelope: &Envelope) -> Result<(), QueueError>;
}

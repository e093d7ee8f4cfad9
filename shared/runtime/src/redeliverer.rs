//! The redeliverer: puts delayed jobs back into their queue when they are due, and moves jobs that
//! the broker has stopped delivering to the dead letters.
//!
//! A delayed copy is scheduled by the broker onto a subject of the delay stream, from which it is
//! published to its job subject; if the original still occupies that subject, the copy is dropped.
//! Once a message was delivered `max_deliver` times without an acknowledgement, JetStream delivers
//! it no more but keeps it in the work queue for ever. It publishes one advisory, at most once, so
//! a sweep over the queue finds what an advisory missed. The durable consumers are called `mover`
//! on the wire, as since the first version. Every step can be repeated, so several processes may
//! run this.

mod delays;

use crate::{
    Connection, Envelope, RetryPolicy, RuntimeError, checkpoints,
    error::chain,
    failpoint::failpoint,
    job_message, now_ms,
    queue::{NatsQueue, Queue, Stored},
    store::Store,
    streams::{consumer_name, lanes},
    undecodable::{Place, undecodable},
    verify::{Found, Verifier},
    worker_name,
};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use cedm_contract::{
    ADVISORIES_STREAM, DeadLetter, Event, EventWhat, FailureKind, JOBS_STREAM, JobKey, Kind,
    Priority, SCHEMA_VERSION, parse_job_subject,
};
use futures::StreamExt;
use serde::Deserialize;
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// After a failure to forward delayed jobs.
const FORWARD: RetryPolicy = RetryPolicy::every(Duration::from_secs(1));

/// Characters of an error that a letter keeps: a message must stay below what the broker takes.
pub(crate) const LONGEST_ERROR: usize = 16_000;

/// What an advisory says.
#[derive(Debug, Deserialize)]
struct Advisory {
    stream_seq: u64,
    #[serde(default)]
    deliveries: u64,
    /// When it was sent, RFC 3339.
    timestamp: String,
}

impl Advisory {
    /// Whether it can be about this message: a stream that was created again assigns its sequences
    /// to others.
    fn is_about(&self, stored: &Stored) -> bool {
        let sent_ms = OffsetDateTime::parse(&self.timestamp, &Rfc3339)
            .map(|at| at.unix_timestamp_nanos() / 1_000_000);
        sent_ms.is_ok_and(|sent_ms| i128::from(stored.stored_ms) <= sent_ms)
    }
}

/// How far the consumer of a lane is.
#[derive(Debug, Clone, Copy)]
struct Lane {
    /// Messages that it has still to deliver, or whose answer it waits for.
    messages: u64,
    /// It has nothing more to do with messages up to this sequence.
    settled_below: u64,
}

/// Forwards delayed jobs and moves abandoned ones to the dead letters. Several may run at once:
/// every step can be repeated.
#[derive(Clone)]
pub struct Redeliverer {
    queue: NatsQueue,
    store: Arc<dyn Store>,
    verifier: Verifier,
    max_deliver: u64,
    ack_wait: Duration,
    /// Delayed messages up to this sequence were looked at, and are as they should be.
    delays_checked: Arc<AtomicU64>,
}

impl Redeliverer {
    /// A redeliverer over an open connection.
    pub fn new(connection: &Connection) -> Self {
        let max_deliver = u64::try_from(connection.delivering.max_deliver).unwrap_or(u64::MAX);
        Self {
            queue: connection.queue.clone(),
            store: connection.store.clone(),
            verifier: Verifier::new(connection.store.clone()),
            max_deliver,
            ack_wait: connection.delivering.ack_wait,
            delays_checked: Arc::default(),
        }
    }

    /// Runs until dropped: retries as they come due, advisories every second, a sweep every minute.
    /// Errors are logged and tried again.
    pub async fn run(&self) {
        futures::join!(self.forward_loop(), self.dead_letter_loop());
    }

    async fn dead_letter_loop(&self) {
        let mut turn = 0_u64;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.drain_advisories().await {
                tracing::debug!(error = %chain(&error), "advisories not read");
            }
            if turn.is_multiple_of(60)
                && let Err(error) = self.sweep().await
            {
                tracing::warn!(error = %chain(&error), "sweep for stuck jobs failed");
            }
            turn += 1;
        }
    }

    /// Handles the advisories that wait; how many jobs were moved.
    ///
    /// # Errors
    /// When NATS fails; what was not handled is delivered again.
    pub async fn drain_advisories(&self) -> Result<usize, RuntimeError> {
        let config = pull::Config {
            durable_name: Some("mover".to_owned()),
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ack_wait: Duration::from_secs(30),
            ..Default::default()
        };
        let consumer = self
            .queue
            .context()
            .create_consumer_on_stream(config, self.queue.names().stream(ADVISORIES_STREAM))
            .await;
        let consumer =
            consumer.map_err(|error| RuntimeError::broker("create the consumer `mover`", error))?;
        let mut moved = 0;
        let batch = consumer
            .fetch()
            .max_messages(64)
            .expires(Duration::from_secs(2))
            .messages()
            .await;
        let mut batch = batch.map_err(|error| RuntimeError::broker("fetch advisories", error))?;
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("fetch advisories: {error}"))?;
            match serde_json::from_slice::<Advisory>(&message.payload) {
                Ok(advisory) => {
                    if let Some(stored) = self.queue.at(JOBS_STREAM, advisory.stream_seq).await?
                        && advisory.is_about(&stored)
                    {
                        let reason = format!(
                            "the broker gave up after {} deliveries without an answer: its \
                             workers died or hung",
                            advisory.deliveries
                        );
                        self.take_off(&stored, advisory.deliveries, reason).await?;
                        moved += 1;
                    }
                }
                Err(error) => {
                    let sequence = message.info().map_or(0, |info| info.stream_sequence);
                    let name = format!("{} ({sequence})", message.subject);
                    undecodable(Place::Advisories, &name, &error.to_string());
                }
            }
            message
                .ack()
                .await
                .map_err(|error| anyhow::anyhow!("acknowledge an advisory: {error}"))?;
        }
        Ok(moved)
    }

    /// Looks for stuck jobs of which no advisory came, for messages in the queue that no consumer
    /// delivers, and for delayed ones that will never be due; how many were moved. A job is stuck
    /// when its consumer has settled it (it is below the acknowledgement floor, or nothing is pending
    /// at all) and it is in the stream nevertheless.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn sweep(&self) -> Result<usize, RuntimeError> {
        let mut moved = self.sweep_delays().await?;
        let now_ms = self.broker_ms().await?;
        let before = self.queue.extent(JOBS_STREAM).await?.messages;
        let mut in_lanes = 0;
        for (kind, priority) in lanes() {
            let lane = self.lane(kind, priority).await?;
            in_lanes += lane.messages;
            moved += self.sweep_lane(kind, priority, lane, now_ms).await?;
        }
        let after = self.queue.extent(JOBS_STREAM).await?.messages;
        // What comes and goes meanwhile makes one of the two numbers right. Names are listed only where
        // both are wrong: there may be a million.
        if before.min(after) > in_lanes {
            moved += self.sweep_outside_lanes().await?;
        }
        Ok(moved)
    }

    /// The broker's time, which messages are stamped with: this process's clock may be wrong.
    async fn broker_ms(&self) -> Result<u64, RuntimeError> {
        let nanos = self.queue.clock().await?.broker.unix_timestamp_nanos();
        Ok(u64::try_from(nanos / 1_000_000).unwrap_or(0))
    }

    /// Messages below no lane: no consumer delivers them, and nothing else removes them.
    async fn sweep_outside_lanes(&self) -> Result<usize, RuntimeError> {
        let mut moved = 0;
        for subject in self.queue.subjects(JOBS_STREAM, "cedm.job.>").await? {
            let is_delivered = lanes().any(|(kind, priority)| {
                subject.starts_with(&format!("cedm.job.{kind}.{priority}."))
            });
            if is_delivered {
                continue;
            }
            let Some(stored) = self.queue.last(JOBS_STREAM, &subject).await? else {
                continue;
            };
            let error = "no worker performs jobs of this subject".to_owned();
            undecodable(Place::Jobs, &subject, &error);
            self.dead_letter(&stored, 0, error).await?;
            moved += 1;
        }
        Ok(moved)
    }

    async fn lane(&self, kind: Kind, priority: Priority) -> Result<Lane, RuntimeError> {
        let name = consumer_name(kind, priority);
        let stream = self
            .queue
            .context()
            .get_stream_no_info(self.queue.names().stream(JOBS_STREAM))
            .await
            .map_err(|error| RuntimeError::broker("get stream", error))?;
        let info = stream
            .consumer_info(&name)
            .await
            .map_err(|error| RuntimeError::broker(format!("consumer {name}"), error))?;
        // Pending: not delivered yet. Ack-pending: being performed, or due for another delivery.
        let messages = info.num_pending + info.num_ack_pending as u64;
        Ok(Lane {
            messages,
            settled_below: if messages == 0 {
                info.delivered.stream_sequence
            } else {
                info.ack_floor.stream_sequence
            },
        })
    }

    /// Messages of a lane that its consumer has settled: there is none where all is well, so this is
    /// hardly ever more than one request, however many jobs wait.
    async fn sweep_lane(
        &self,
        kind: Kind,
        priority: Priority,
        lane: Lane,
        now_ms: u64,
    ) -> Result<usize, RuntimeError> {
        let filter = format!("cedm.job.{kind}.{priority}.>");
        let (mut moved, mut from) = (0, 1);
        while from <= lane.settled_below {
            let next = self.queue.next(JOBS_STREAM, &filter, from).await?;
            let Some(stored) = next.filter(|next| next.sequence <= lane.settled_below) else {
                break;
            };
            from = stored.sequence + 1;
            // An acknowledgement may be on its way: only a message that has been there for long is
            // stuck.
            let settled_ms = u64::try_from((self.ack_wait * 2).as_millis()).unwrap_or(u64::MAX);
            if stored.stored_ms + settled_ms > now_ms {
                continue;
            }
            self.take_off(
                &stored,
                self.max_deliver,
                "found undeliverable in the queue: its workers died or hung".to_owned(),
            )
            .await?;
            moved += 1;
        }
        Ok(moved)
    }

    /// Takes a job off the queue that the broker gave up on. Where its result exists by now, or its
    /// deliveries advanced it, it is not dead.
    async fn take_off(
        &self,
        stored: &Stored,
        deliveries: u64,
        error: String,
    ) -> Result<(), RuntimeError> {
        if let Ok((kind, priority, key)) = parse_job_subject(&stored.subject) {
            if let Found::Sound(_) = self.verifier.look_up(&key, false).await? {
                tracing::warn!(job = %key, %kind, "the broker gave up on a job whose result \
                    exists");
                self.queue.remove(JOBS_STREAM, stored.sequence).await?;
                return Ok(self
                    .queue
                    .publish_event(&event(kind, &key, EventWhat::Done), &stored.envelope)
                    .await?);
            }
            if checkpoints::advanced_by(self.store.as_ref(), &key, stored.sequence).await? {
                tracing::warn!(job = %key, %kind, deliveries, "its workers died again and again, \
                    and each time it came further: a fresh budget of deliveries");
                let payload = stored.payload.clone();
                self.queue
                    .delay(
                        (kind, priority),
                        &key,
                        payload,
                        stored.envelope,
                        Duration::ZERO,
                    )
                    .await?;
                failpoint("after-renewal");
                self.queue.remove(JOBS_STREAM, stored.sequence).await?;
                return Ok(());
            }
        }
        self.dead_letter(stored, deliveries, error).await
    }

    /// The letter first, then the removal: a crash in between repeats both. The event comes last:
    /// whoever receives it finds the dead letter and the job no longer in the queue.
    async fn dead_letter(
        &self,
        stored: &Stored,
        attempts: u64,
        error: String,
    ) -> Result<(), RuntimeError> {
        let letter = letter_of(
            &stored.subject,
            &stored.payload,
            FailureKind::Bug,
            error,
            attempts,
            String::new(),
        );
        tracing::error!(job = %letter.key, kind = %letter.kind, reason = %letter.error, "job \
            moved to the dead letters");
        self.queue.dead_letter(&letter).await?;
        failpoint("after-redeliverer-letter");
        self.queue.remove(JOBS_STREAM, stored.sequence).await?;
        self.queue
            .publish_event(&dead_event(&letter), &stored.envelope)
            .await?;
        Ok(())
    }
}

/// The letter for a job message; the job is left out, and its bytes kept, when they are not those of
/// the job that its subject names.
pub(crate) fn letter_of(
    subject: &str,
    payload: &[u8],
    failure: FailureKind,
    error: String,
    attempts: u64,
    worker: String,
) -> DeadLetter {
    let Ok((kind, _, key)) = parse_job_subject(subject) else {
        // Below the kind of its lane: whoever receives from there may publish letters of no other.
        return misplaced_letter(kind_in(subject), subject, payload, error);
    };
    let job = job_message::read(subject, payload, &Envelope::fresh()).ok();
    let raw = match job {
        Some(_) => Vec::new(),
        None => payload.to_vec(),
    };
    DeadLetter {
        schema: SCHEMA_VERSION,
        job,
        kind,
        key,
        failure,
        error: error.chars().take(LONGEST_ERROR).collect(),
        attempts,
        at_ms: now_ms(),
        worker,
        raw,
    }
}

/// The kind that a subject names in its third token.
fn kind_in(subject: &str) -> Option<Kind> {
    subject.split('.').nth(2)?.parse().ok()
}

/// The letter for a message that is no job of its place: under a key of its own, so that it stands in
/// the way of no job.
pub(crate) fn misplaced_letter(
    kind: Option<Kind>,
    place: &str,
    payload: &[u8],
    error: String,
) -> DeadLetter {
    DeadLetter {
        schema: SCHEMA_VERSION,
        job: None,
        // Published by another program: the dead letter must have a kind nevertheless.
        kind: kind.unwrap_or(Kind::Import),
        key: JobKey::of(place.as_bytes()),
        failure: FailureKind::Reject,
        error: error.chars().take(LONGEST_ERROR).collect(),
        attempts: 0,
        at_ms: now_ms(),
        worker: String::new(),
        raw: payload.to_vec(),
    }
}

/// The event that goes with a letter.
pub(crate) fn dead_event(letter: &DeadLetter) -> Event {
    let mut event = event(letter.kind, &letter.key, EventWhat::Dead);
    event.at_ms = letter.at_ms;
    event.message.clone_from(&letter.error);
    if !letter.worker.is_empty() {
        event.worker.clone_from(&letter.worker);
    }
    event
}

/// An event of the present moment that no attempt caused.
pub(crate) fn event(kind: Kind, key: &JobKey, what: EventWhat) -> Event {
    Event {
        schema: SCHEMA_VERSION,
        key: key.clone(),
        kind,
        what,
        attempt: None,
        worker: worker_name(),
        at_ms: now_ms(),
        cached: what == EventWhat::Done,
        done: 0,
        total: 0,
        unit: String::new(),
        message: String::new(),
    }
}

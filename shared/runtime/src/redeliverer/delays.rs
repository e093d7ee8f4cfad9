//! Delayed jobs on their way back into the queue, and what must not get there.
//!
//! A worker may schedule messages below the delay subjects of its own kinds, and the broker's
//! permissions do not cover where a scheduled message is published. So that is checked here: the
//! broker names the subject at which a message was scheduled, no client can, and its kind, priority
//! and key must be those of the subject that it arrived at, and of the job in it.

use super::{FORWARD, Redeliverer, dead_event, kind_in, letter_of, misplaced_letter};
use crate::{
    Envelope, RuntimeError,
    failpoint::failpoint,
    job_message,
    queue::{Queue, Stored},
    undecodable::{Place, undecodable},
};
use async_nats::{
    header::NATS_SCHEDULER,
    jetstream::{
        Message,
        consumer::{AckPolicy, pull},
    },
};
use cedm_contract::{
    ContractError, DELAYS_STREAM, DeadLetter, FailureKind, JobKey, Kind, Names, Priority,
    delay_subject, due_subject, parse_job_subject,
};
use futures::StreamExt;
use std::{sync::atomic::Ordering, time::Duration};

/// What is to be done with a due message.
enum Due {
    Forward(Kind, Priority, JobKey),
    SetAside(Box<DeadLetter>),
}

impl Redeliverer {
    pub(super) async fn forward_loop(&self) {
        loop {
            // Without an end: an error is not possible.
            let _ = FORWARD
                .retry("forward delayed jobs", |_| true, || self.forward_due())
                .await;
        }
    }

    /// Puts retries whose time has come into their queue, waiting a few seconds for one; how many.
    /// A subject that still holds the original, whose worker died before its acknowledgement, needs
    /// no copy: the original is redelivered. What is no job of the subject at which it was scheduled
    /// becomes a dead letter instead.
    ///
    /// # Errors
    /// When NATS fails; what was not forwarded is delivered again.
    pub async fn forward_due(&self) -> Result<usize, RuntimeError> {
        let config = pull::Config {
            durable_name: Some("mover".to_owned()),
            filter_subject: self.queue.names().to_wire("cedm.due.>"),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(30),
            ..Default::default()
        };
        let consumer = self
            .queue
            .context()
            .create_consumer_on_stream(config, self.queue.names().stream(DELAYS_STREAM))
            .await;
        let consumer =
            consumer.map_err(|error| RuntimeError::broker("create the consumer `mover`", error))?;
        let mut forwarded = 0;
        let batch = consumer
            .batch()
            .max_messages(32)
            .expires(Duration::from_secs(5))
            .messages()
            .await;
        let mut batch = batch.map_err(|error| RuntimeError::broker("fetch due retries", error))?;
        while let Some(message) = batch.next().await {
            let message = message.map_err(|error| anyhow::anyhow!("fetch due retries: {error}"))?;
            match judge(self.queue.names(), &message) {
                Due::Forward(kind, priority, key) => {
                    let envelope = Envelope::of(message.headers.as_ref());
                    let id = format!("due-{}", ulid::Ulid::generate());
                    let payload = message.payload.clone();
                    self.queue
                        .publish((kind, priority), &key, payload, envelope, &id)
                        .await?;
                    failpoint("after-forward");
                    forwarded += 1;
                }
                Due::SetAside(letter) => {
                    undecodable(Place::Delays, &message.subject, &letter.error);
                    self.queue.dead_letter(&letter).await?;
                    let envelope = Envelope::of(message.headers.as_ref());
                    self.queue
                        .publish_event(&dead_event(&letter), &envelope)
                        .await?;
                }
            }
            message
                .double_ack()
                .await
                .map_err(|error| anyhow::anyhow!("acknowledge a due retry: {error}"))?;
        }
        Ok(forwarded)
    }

    /// Looks for messages at delay subjects that will never be due there: without a schedule, with
    /// one that repeats, or scheduled onto another subject. Each would hold its subject, so that the
    /// job of that subject counts as queued, for ever. They become dead letters; how many. Each message is
    /// looked at once.
    pub(super) async fn sweep_delays(&self) -> Result<usize, RuntimeError> {
        let extent = self.queue.extent(DELAYS_STREAM).await?;
        let mut checked = self.delays_checked.load(Ordering::Relaxed);
        if extent.last < checked {
            // The stream is another one: a broker that lost its data counts from one again.
            checked = 0;
        }
        let mut moved = 0;
        while checked < extent.last {
            let next = self
                .queue
                .next(DELAYS_STREAM, "cedm.delay.>", checked + 1)
                .await?;
            let Some(stored) = next else { break };
            if let Some(reason) = flaw(&stored) {
                let subject = &stored.subject;
                undecodable(Place::Delays, subject, &reason);
                let letter = misplaced_letter(kind_in(subject), subject, &stored.payload, reason);
                self.queue.dead_letter(&letter).await?;
                moved += usize::from(self.queue.remove(DELAYS_STREAM, stored.sequence).await?);
            }
            checked = stored.sequence;
            self.delays_checked.store(checked, Ordering::Relaxed);
        }
        self.delays_checked
            .store(checked.max(extent.last), Ordering::Relaxed);
        Ok(moved)
    }
}

/// Why a message at a delay subject is not one that a worker delays.
fn flaw(stored: &Stored) -> Option<String> {
    let (kind, priority, key) = match parse_job_subject(&stored.subject) {
        Ok(lane) => lane,
        Err(error) => return Some(error.to_string()),
    };
    let due = due_subject(kind, priority, &key);
    match (&stored.schedule, &stored.schedule_target) {
        (Some(at), Some(target)) if at.starts_with("@at ") && *target == due => None,
        (Some(at), Some(target)) => Some(format!(
            "scheduled `{at}` onto `{target}`, expected `@at` a time onto `{due}`"
        )),
        _ => Some("a delayed message without a schedule: it would never be due".to_owned()),
    }
}

fn judge(names: &Names, message: &Message) -> Due {
    let subject = names.from_wire(&message.subject);
    let scheduler = message.headers.as_ref().and_then(|headers| {
        let value = headers.get(NATS_SCHEDULER)?;
        Some(names.from_wire(value.as_str()))
    });
    let scheduler = scheduler.unwrap_or_default();
    let aside = |error: String| {
        let place = format!("{scheduler} {}", subject);
        let letter = misplaced_letter(kind_in(&scheduler), &place, &message.payload, error);
        Due::SetAside(Box::new(letter))
    };
    let (kind, priority, key) = match parse_job_subject(&subject) {
        Ok(lane) => lane,
        Err(error) => return aside(error.to_string()),
    };
    if scheduler != delay_subject(kind, priority, &key) {
        return aside(format!(
            "scheduled at `{scheduler}` onto `{}`: a service reaches its own kinds alone, and each \
             job its own subject",
            subject
        ));
    }
    let envelope = Envelope::of(message.headers.as_ref());
    match job_message::read(&subject, &message.payload, &envelope) {
        Ok(_) => Due::Forward(kind, priority, key),
        // Whoever can read it takes it.
        Err(error) if job_message::is_for_other_build(&error) => Due::Forward(kind, priority, key),
        Err(error @ ContractError::OtherSubject { .. }) => aside(error.to_string()),
        Err(error) => Due::SetAside(Box::new(letter_of(
            &subject,
            &message.payload,
            FailureKind::Reject,
            error.to_string(),
            envelope.failures,
            String::new(),
        ))),
    }
}

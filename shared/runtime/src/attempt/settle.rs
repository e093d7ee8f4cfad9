//! What becomes of a job whose attempt gave no result: another try later, a dead letter, or
//! another's hands at once. What replaces the message is stored before the message is acknowledged.

use super::{AttemptRunner, Ended, InFlight};
use crate::{
    Envelope, RetryPolicy, RuntimeError,
    error::JobError,
    failpoint::failpoint,
    queue::{Delivery, Published},
    redeliverer::{dead_event, letter_of},
    verify::{Found, LookUpError, Verifier},
};
use cedm_contract::{ContractError, EventWhat, FailureKind, Job, JobKey};
use std::{sync::atomic::Ordering, time::Duration};

/// A job of a newer program waits this long for a newer worker.
const NEWER_SCHEMA_DELAY: Duration = Duration::from_secs(30);
/// Between a failure and the first try after it.
const FIRST_DELAY: Duration = Duration::from_secs(5);
/// The longest delay between two tries of a job.
const LONGEST_DELAY: Duration = Duration::from_secs(600);

impl AttemptRunner {
    /// What becomes of a job whose attempt failed: only the error's kind decides.
    pub(super) async fn settle(
        &self,
        in_flight: &InFlight<'_>,
        error: JobError,
    ) -> Result<Ended, RuntimeError> {
        let text = format!("{error:#}");
        match &error {
            JobError::Drained => {
                tracing::info!("left at a checkpoint for another worker");
                self.give_back(in_flight.delivery).await?;
                Ok(Ended::Drained)
            }
            JobError::Reject { .. } => {
                tracing::error!(error = %text, "job rejected");
                self.dead_letter(in_flight, FailureKind::Reject, text)
                    .await?;
                Ok(Ended::Reject)
            }
            JobError::InputLost { input, .. } => match self.is_lost(in_flight, input).await {
                Ok(true) => {
                    tracing::warn!(error = %text, "an input has to be made again; the job leaves \
                        the queue until it is there");
                    self.publish_event(in_flight, EventWhat::Failed, false, text)
                        .await;
                    failpoint("after-input-lost");
                    in_flight.delivery.receipt.double_ack().await?;
                    Ok(Ended::InputLost)
                }
                Ok(false) => {
                    self.fail(in_flight, FailureKind::Retry, FIRST_DELAY, &error)
                        .await
                }
                Err(reason) => {
                    self.fail(in_flight, FailureKind::Retry, FIRST_DELAY, &reason.into())
                        .await
                }
            },
            JobError::Retry { after, .. } => {
                self.fail(in_flight, FailureKind::Retry, *after, &error)
                    .await
            }
            JobError::Bug { .. } => {
                self.fail(in_flight, FailureKind::Bug, FIRST_DELAY, &error)
                    .await
            }
        }
    }

    /// Whether an input that could not be read has really to be made again; a result of it that
    /// does not verify is discarded. It is looked at with fresh eyes: what this process found sound
    /// once may have been damaged since.
    async fn is_lost(&self, in_flight: &InFlight<'_>, input: &JobKey) -> Result<bool, LookUpError> {
        match Verifier::new(self.worker.store.clone())
            .look_up(input, true)
            .await?
        {
            Found::Nothing => Ok(true),
            Found::Sound(manifest) => {
                let mut pinned = in_flight
                    .job
                    .inputs
                    .iter()
                    .filter(|found| found.key == *input);
                Ok(pinned.any(|found| found.digest != manifest.digest))
            }
            Found::Broken(reason, attempt) => {
                tracing::warn!(%input, %reason, "the result of an input does not verify; it is \
                    discarded");
                self.verifier.discard(input, attempt.as_ref()).await?;
                Ok(true)
            }
        }
    }

    /// Another try later, or none any more. An attempt that stored a checkpoint came further than
    /// the last one, so the count begins anew; and a store that answers nobody is no fault of this
    /// job.
    async fn fail(
        &self,
        in_flight: &InFlight<'_>,
        failure: FailureKind,
        after: Duration,
        error: &JobError,
    ) -> Result<Ended, RuntimeError> {
        let text = format!("{error:#}");
        let before = if in_flight.advanced.load(Ordering::Relaxed) {
            0
        } else {
            in_flight.delivery.envelope.failures
        };
        let is_outage = error.is_unanswered() && self.store_answers().await.is_err();
        let failures = if is_outage { before } else { before + 1 };
        let ended = match failure {
            FailureKind::Bug => {
                tracing::error!(error = %text, failures, "attempt failed by a mistake of the program");
                Ended::Bug
            }
            FailureKind::Retry | FailureKind::Reject => {
                tracing::warn!(error = %text, failures, is_outage, "attempt failed");
                Ended::Retry
            }
        };
        if failures >= self.max_failures && !is_outage {
            self.dead_letter(in_flight, failure, text).await?;
        } else {
            self.publish_event(in_flight, EventWhat::Failed, false, text)
                .await;
            let delay = backoff(&in_flight.job.key, after, failures);
            self.postpone(in_flight.delivery, &in_flight.job, failures, delay)
                .await?;
        }
        Ok(ended)
    }

    /// The event comes last here: whoever hears it finds the letter, and the queue without the job.
    async fn dead_letter(
        &self,
        in_flight: &InFlight<'_>,
        failure: FailureKind,
        text: String,
    ) -> Result<(), RuntimeError> {
        let attempts = in_flight.delivery.envelope.failures + in_flight.delivery.delivered;
        let letter = letter_of(
            &in_flight.delivery.subject,
            &in_flight.delivery.payload,
            failure,
            text,
            attempts,
            self.software.worker.clone(),
        );
        self.queue.dead_letter(&letter).await?;
        failpoint("after-letter");
        in_flight.delivery.receipt.double_ack().await?;
        if let Err(error) = self
            .queue
            .publish_event(&dead_event(&letter), &in_flight.delivery.envelope)
            .await
        {
            tracing::warn!(%error, "event not stored");
        }
        Ok(())
    }

    /// Stores the job for later and takes it off the queue.
    async fn postpone(
        &self,
        delivery: &Delivery,
        job: &Job,
        failures: u64,
        after: Duration,
    ) -> Result<(), RuntimeError> {
        let lane = (job.kind(), lane_priority(delivery, job));
        let envelope = Envelope {
            failures,
            ..delivery.envelope
        };
        match self
            .queue
            .delay(lane, &job.key, delivery.payload.clone(), envelope, after)
            .await?
        {
            // Occupied: a delayed copy from an attempt that died before its acknowledgement waits
            // already.
            Published::Stored | Published::Occupied => {}
        }
        failpoint("after-delay");
        Ok(delivery.receipt.double_ack().await?)
    }

    /// Gives a job back at once. A drain is no failure, so it must not use up the deliveries that
    /// the broker counts: when they run low, the job goes round through a delay of no length, which
    /// starts the count again.
    pub(crate) async fn give_back(&self, delivery: &Delivery) -> Result<(), RuntimeError> {
        if delivery.delivered + 2 >= self.max_deliver
            && let Ok(job) = Job::decode(&delivery.payload)
        {
            return self
                .postpone(delivery, &job, delivery.envelope.failures, Duration::ZERO)
                .await;
        }
        Ok(delivery.receipt.nak(None).await?)
    }

    /// A message that is no job of ours: one of a newer program waits for a newer worker, anything
    /// else is a dead letter.
    pub(super) async fn refuse(
        &self,
        delivery: &Delivery,
        error: &ContractError,
    ) -> Result<Ended, RuntimeError> {
        if let ContractError::NewerSchema { .. } = error
            && let Ok((kind, priority, key)) = cedm_contract::parse_job_subject(&delivery.subject)
        {
            tracing::error!(%error, subject = %delivery.subject, "a job of a newer program: left \
                for a newer worker");
            self.queue
                .delay(
                    (kind, priority),
                    &key,
                    delivery.payload.clone(),
                    delivery.envelope,
                    NEWER_SCHEMA_DELAY,
                )
                .await?;
            delivery.receipt.double_ack().await?;
            return Ok(Ended::Refused);
        }
        tracing::error!(%error, subject = %delivery.subject, "a message that is no job: moved to \
            the dead letters");
        let letter = letter_of(
            &delivery.subject,
            &delivery.payload,
            FailureKind::Reject,
            error.to_string(),
            delivery.delivered,
            self.software.worker.clone(),
        );
        self.queue.dead_letter(&letter).await?;
        delivery.receipt.double_ack().await?;
        Ok(Ended::Refused)
    }
}

/// The priority under which the job was queued; its own if somebody published by hand.
fn lane_priority(delivery: &Delivery, job: &Job) -> cedm_contract::Priority {
    cedm_contract::parse_job_subject(&delivery.subject)
        .map_or(job.priority, |(_, priority, _)| priority)
}

/// Doubles with every failure, up to ten minutes; a tenth up or down by key, so that jobs that
/// failed together do not come again together.
fn backoff(key: &JobKey, first: Duration, failures: u64) -> Duration {
    let seed = format!("{key} {failures}");
    RetryPolicy::doubling(first, LONGEST_DELAY).delay_with_jitter(failures, seed.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_and_ends() {
        let key = JobKey::of(b"job");
        let seconds = |failures| backoff(&key, Duration::from_secs(5), failures).as_secs_f64();
        for (failures, expect) in [
            (1, 5.0),
            (2, 10.0),
            (3, 20.0),
            (4, 40.0),
            (30, 600.0),
            (u64::MAX, 600.0),
        ] {
            let found = seconds(failures);
            assert!(
                (0.9 * expect..=1.1 * expect).contains(&found),
                "{failures}: {found} s, {expect} s expected"
            );
        }
    }
}

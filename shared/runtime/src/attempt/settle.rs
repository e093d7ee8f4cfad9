//! What happens to a job whose attempt has failed: a retry after a delay, a dead letter, or an
//! immediate redelivery to another worker.
//!
//! The kind of [`JobError`] decides. Whatever replaces the message (the delayed copy, the dead
//! letter) is stored before the message is acknowledged: a crash in between leaves both, and a
//! second copy is harmless, where a lost job would not be. Retries are delayed copies in a stream
//! of their own rather than naks with a delay, so that they survive the worker and do not use up
//! the consumer's delivery budget.

use super::{AttemptEnd, AttemptRunner, InFlight};
use crate::{
    Envelope, RetryPolicy, RuntimeError,
    error::{JobError, Outage, chain},
    failpoint::failpoint,
    job_message,
    metrics::process::JOBS,
    queue::{Delivery, Published},
    redeliverer::{dead_event, dead_letter_of},
    store::identity,
    undecodable::{Place, undecodable},
    verify::{LookUpError, Quarantine, SECOND_LOOK, StoredResult, Verifier},
};
use cedm_contract::{ContractError, EventWhat, FailureKind, Job, JobKey, Kind, Priority};
use std::time::Duration;

/// How long a job for another version is delayed before it is offered again.
const OTHER_VERSION_DELAY: Duration = Duration::from_secs(30);
/// Between a failure and the first try after it.
const FIRST_DELAY: Duration = Duration::from_secs(5);
/// The longest delay between two tries of a job.
const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// Tries of a job whose objects the store does not give or take, though it answers: with these
/// delays about five and a half hours.
const OUTAGE_TRIES: u64 = 40;
/// How long a process that has to exit waits for the broker's answers.
const LONGEST_FAREWELL: Duration = Duration::from_secs(20);

impl AttemptRunner {
    /// Settles the message of a failed attempt; only the kind of error decides how.
    pub(super) async fn settle(
        &self,
        in_flight: &InFlight<'_>,
        error: JobError,
    ) -> Result<AttemptEnd, RuntimeError> {
        let text = format!("{error:#}");
        match &error {
            JobError::Drained => {
                tracing::info!("stopped at a checkpoint; another worker continues");
                self.return_to_queue(in_flight.delivery).await?;
                Ok(AttemptEnd::Drained)
            }
            JobError::Reject { .. } => {
                tracing::error!(error = %text, "job rejected");
                self.dead_letter(in_flight, FailureKind::Reject, text)
                    .await?;
                Ok(AttemptEnd::Reject)
            }
            JobError::InputLost { .. } if self.has_another_store(in_flight).await => {
                tracing::error!(error = %text, "this worker's store is not that of the job: returned \
                    to the queue");
                self.return_to_queue(in_flight.delivery).await?;
                Ok(AttemptEnd::Retry)
            }
            JobError::InputLost { input, .. } => match self.is_lost(in_flight, input).await {
                Ok(true) => {
                    tracing::warn!(error = %text, "an input has to be recomputed; the job leaves \
                        the queue until it exists");
                    self.publish_event(in_flight, EventWhat::Failed, false, text)
                        .await;
                    failpoint("after-input-lost");
                    in_flight.delivery.receipt.double_ack().await?;
                    Ok(AttemptEnd::InputLost)
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
            JobError::Stalled(_) => {
                self.fail_for_good(in_flight, &error).await;
                Ok(AttemptEnd::Stalled)
            }
            JobError::DeviceLost { .. } => {
                self.fail_for_good(in_flight, &error).await;
                Ok(AttemptEnd::DeviceLost)
            }
        }
    }

    /// Whether the store is not the one that the job's submitter had, as far as it answers: then it
    /// says nothing about the job's inputs. Asked anew, for it may have been replaced meanwhile.
    async fn has_another_store(&self, in_flight: &InFlight<'_>) -> bool {
        let Some(expected) = in_flight.delivery.envelope.store else {
            return false;
        };
        let found = identity(self.worker.store.as_ref()).await;
        found.is_ok_and(|found| found != Some(expected))
    }

    /// Whether an input that could not be read has to be recomputed: looked at again after a pause,
    /// and if it does not verify, once more before it is quarantined. Nothing that this process
    /// verified earlier counts: it may have been damaged since.
    async fn is_lost(&self, in_flight: &InFlight<'_>, input: &JobKey) -> Result<bool, LookUpError> {
        tokio::time::sleep(SECOND_LOOK).await;
        let verifier = Verifier::new(self.worker.store.clone());
        let manifest = match verifier.look_up(input, true).await? {
            StoredResult::Nothing => return Ok(true),
            StoredResult::Sound(manifest) => manifest,
            StoredResult::Broken(reason) => {
                tracing::warn!(%input, %reason, "the result of an input does not verify");
                match verifier.quarantine(input, true).await? {
                    Quarantine::Gone | Quarantine::Noticed(_) => return Ok(true),
                    Quarantine::Sound(manifest) => manifest,
                }
            }
        };
        let mut pinned = in_flight
            .job
            .inputs
            .iter()
            .filter(|found| found.key == *input);
        Ok(pinned.any(|found| found.digest != manifest.digest))
    }

    /// Fails an attempt after which this process has to exit. That must not be held up, so it waits
    /// for the broker only so long; after that the broker redelivers the job.
    async fn fail_for_good(&self, in_flight: &InFlight<'_>, error: &JobError) {
        let failed = self.fail(in_flight, FailureKind::Retry, FIRST_DELAY, error);
        match tokio::time::timeout(LONGEST_FAREWELL, failed).await {
            Ok(Ok(_)) => {}
            Ok(Err(reason)) => {
                tracing::warn!(error = %chain(&reason), "the job is redelivered when ack_wait is \
                    over")
            }
            Err(_) => tracing::warn!(
                "the broker does not answer: the job is redelivered when ack_wait is over"
            ),
        }
    }

    /// Another try later, or a dead letter when no try is left. An attempt that stored a checkpoint
    /// made progress, so the count starts again. What is the store's failure is not counted against
    /// the job: while the store is full, or cannot be written, for as long as that lasts; while it
    /// answers and only this job's objects cannot be had, for [`OUTAGE_TRIES`].
    async fn fail(
        &self,
        in_flight: &InFlight<'_>,
        failure: FailureKind,
        after: Duration,
        error: &JobError,
    ) -> Result<AttemptEnd, RuntimeError> {
        let text = format!("{error:#}");
        let mut envelope = in_flight.delivery.envelope;
        if self.worker.progress_table.has_checkpointed() {
            envelope.failures = 0;
        }
        let delay = match error.outage() {
            Some(Outage::Full) => Some(after),
            Some(Outage::NoAnswer) if self.store_answers().await.is_err() => Some(after),
            Some(Outage::NoAnswer) => {
                envelope.outages += 1;
                let is_last = envelope.outages >= OUTAGE_TRIES;
                (!is_last).then(|| backoff(&in_flight.job.key, after, envelope.outages))
            }
            None => {
                envelope.failures += 1;
                let is_last = envelope.failures >= self.max_failures;
                (!is_last).then(|| backoff(&in_flight.job.key, after, envelope.failures))
            }
        };
        let (failures, outages) = (envelope.failures, envelope.outages);
        let ended = match failure {
            FailureKind::Bug => {
                tracing::error!(error = %text, failures, "attempt failed because of a bug");
                AttemptEnd::Bug
            }
            FailureKind::Retry | FailureKind::Reject => {
                tracing::warn!(error = %text, failures, outages, "attempt failed");
                AttemptEnd::Retry
            }
        };
        match delay {
            Some(delay) => {
                self.publish_event(in_flight, EventWhat::Failed, false, text)
                    .await;
                let job = &in_flight.job;
                let lane = (job.kind(), lane_priority(in_flight.delivery, job));
                self.postpone(in_flight.delivery, lane, &job.key, envelope, delay)
                    .await?;
            }
            None => self.dead_letter(in_flight, failure, text).await?,
        }
        Ok(ended)
    }

    /// The event comes last here: whoever receives it finds the dead letter, and the job no longer
    /// in the queue.
    async fn dead_letter(
        &self,
        in_flight: &InFlight<'_>,
        failure: FailureKind,
        text: String,
    ) -> Result<(), RuntimeError> {
        let attempts = in_flight.delivery.envelope.failures + in_flight.delivery.delivered;
        let letter = dead_letter_of(
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
            tracing::warn!(error = %chain(&error), "event not stored");
        }
        Ok(())
    }

    /// Stores a delayed copy of the job and removes the job from the queue.
    async fn postpone(
        &self,
        delivery: &Delivery,
        lane: (Kind, Priority),
        key: &JobKey,
        envelope: Envelope,
        after: Duration,
    ) -> Result<(), RuntimeError> {
        match self
            .queue
            .delay(lane, key, delivery.payload.clone(), envelope, after)
            .await?
        {
            // Occupied: a delayed copy from an attempt that died before its acknowledgement waits
            // already.
            Published::Stored | Published::Occupied => {}
        }
        failpoint("after-delay");
        Ok(delivery.receipt.double_ack().await?)
    }

    /// Returns a job to the queue at once. A drain is not a failure, so it must not use up the
    /// deliveries that the broker counts: when few are left, the job goes through the delay stream
    /// with a delay of zero, which starts the count again.
    pub(crate) async fn return_to_queue(&self, delivery: &Delivery) -> Result<(), RuntimeError> {
        if delivery.delivered + 2 >= self.max_deliver
            && let Ok((kind, priority, key)) = cedm_contract::parse_job_subject(&delivery.subject)
        {
            return self
                .postpone(
                    delivery,
                    (kind, priority),
                    &key,
                    delivery.envelope,
                    Duration::ZERO,
                )
                .await;
        }
        Ok(delivery.receipt.nak(None).await?)
    }

    /// A message that is no job for this build: one for another version waits for a worker of that
    /// version, anything else becomes a dead letter.
    pub(super) async fn quarantine(
        &self,
        delivery: &Delivery,
        error: &ContractError,
    ) -> Result<AttemptEnd, RuntimeError> {
        let lane = cedm_contract::parse_job_subject(&delivery.subject);
        let ended = match &lane {
            Ok(lane) if job_message::is_for_other_build(error) => {
                self.return_to_other_version(delivery, lane, error).await?
            }
            _ => self.refuse(delivery, error).await?,
        };
        if let Ok((kind, _, _)) = lane {
            let metrics = &self.worker.metrics;
            metrics.add_at(&JOBS, [kind.token(), ended.label()], 1);
        }
        Ok(ended)
    }

    /// Offers the job again after a while. It goes through the delay stream, which starts the
    /// broker's count of deliveries again; its headers say what it waits for.
    async fn return_to_other_version(
        &self,
        delivery: &Delivery,
        (kind, priority, key): &(Kind, Priority, JobKey),
        error: &ContractError,
    ) -> Result<AttemptEnd, RuntimeError> {
        let mut envelope = delivery.envelope;
        envelope.returns += 1;
        match error {
            ContractError::OtherVersion { found, .. } => envelope.algorithm = Some(*found),
            ContractError::NewerSchema { found, .. } => envelope.schema = *found,
            _ => {}
        }
        tracing::warn!(error = %chain(error), subject = %delivery.subject, returns = envelope.returns,
            "a job for another version: given back");
        let payload = delivery.payload.clone();
        self.queue
            .delay(
                (*kind, *priority),
                key,
                payload,
                envelope,
                OTHER_VERSION_DELAY,
            )
            .await?;
        failpoint("after-return");
        delivery.receipt.double_ack().await?;
        Ok(AttemptEnd::OtherVersion)
    }

    async fn refuse(
        &self,
        delivery: &Delivery,
        error: &ContractError,
    ) -> Result<AttemptEnd, RuntimeError> {
        let name = format!("{} ({})", delivery.subject, delivery.sequence);
        undecodable(Place::Jobs, &name, &error.to_string());
        let letter = dead_letter_of(
            &delivery.subject,
            &delivery.payload,
            FailureKind::Reject,
            error.to_string(),
            delivery.delivered,
            self.software.worker.clone(),
        );
        self.queue.dead_letter(&letter).await?;
        delivery.receipt.double_ack().await?;
        let event = dead_event(&letter);
        if let Err(error) = self.queue.publish_event(&event, &delivery.envelope).await {
            tracing::warn!(error = %chain(&error), "event not stored");
        }
        Ok(AttemptEnd::Refused)
    }
}

/// The priority under which the job was queued; the job's own if the subject cannot be parsed.
fn lane_priority(delivery: &Delivery, job: &Job) -> cedm_contract::Priority {
    cedm_contract::parse_job_subject(&delivery.subject)
        .map_or(job.priority, |(_, priority, _)| priority)
}

/// Doubles with every failure, up to ten minutes; a tenth more or less by key, so that jobs that
/// failed together are not retried together.
fn backoff(key: &JobKey, first: Duration, failures: u64) -> Duration {
    let seed = format!("{key} {failures}");
    RetryPolicy::doubling(first, LONGEST_DELAY).delay_with_jitter(failures, seed.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_ten_minutes() {
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

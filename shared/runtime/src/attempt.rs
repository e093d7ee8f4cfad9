//! One attempt at one job, from its delivery to its acknowledgement, in the order that makes at-least-once delivery have
//! exactly one effect: manifest looked up, inputs verified, work done below the attempt's own prefix, manifest committed, event,
//! acknowledgement last.

use crate::{
    Envelope, Outcome, RuntimeError, checkpoints,
    commit::{Committed, commit},
    compute::{Compute, Finished},
    desk::{Bench, Desk},
    error::{JobError, chain},
    failpoint::failpoint,
    mover::{dead_event, letter_of, republished},
    now_ms,
    queue::{Delivery, Published, Queue},
    verify::{Found, LookUpError, Verifier},
};
use anyhow::anyhow;
use cedm_contract::{
    Attempt, ContractError, Event, EventWhat, FailureKind, Input, Job, JobKey, Manifest, SCHEMA_VERSION, Software, Timings, manifest_key,
};
use std::{sync::Arc, time::Duration};

/// A job of a newer program waits this long for a newer worker.
const NEWER_SCHEMA_DELAY: Duration = Duration::from_secs(30);
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);

/// Everything that attempts of one process share.
#[derive(Clone)]
pub(crate) struct Workshop {
    pub queue: Arc<dyn Queue>,
    pub compute: Arc<dyn Compute>,
    pub bench: Bench,
    pub verifier: Verifier,
    pub software: Software,
    /// Failures of a job, reported by workers, before it is dead.
    pub max_failures: u64,
    /// Deliveries before the broker gives up.
    pub max_deliver: u64,
}

/// How an attempt ended; the label `outcome` of `cedm_jobs_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Cached,
    Superseded,
    Retry,
    Reject,
    Bug,
    Drained,
    Refused,
}

impl Ended {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Ended::Done => "done",
            Ended::Cached => "cached",
            Ended::Superseded => "superseded",
            Ended::Retry => "retry",
            Ended::Reject => "reject",
            Ended::Bug => "bug",
            Ended::Drained => "drained",
            Ended::Refused => "refused",
        }
    }
}

/// A job in hand.
struct Hand<'a> {
    job: Job,
    attempt: Attempt,
    delivery: &'a Delivery,
    started_ms: u64,
}

impl Workshop {
    /// Works off a delivery. An error means that the broker could not be told: the job comes again by itself.
    pub(crate) async fn handle(&self, delivery: &Delivery) -> Result<Ended, RuntimeError> {
        let job = match Job::decode(&delivery.payload) {
            Ok(job) => job,
            Err(error) => return self.refuse(delivery, &error).await,
        };
        let attempt = Attempt::new(delivery.sequence, delivery.delivered);
        let hand = Hand {
            job,
            attempt,
            delivery,
            started_ms: now_ms(),
        };
        let kind = hand.job.kind().token();
        if delivery.delivered > 1 {
            self.bench.metrics.redeliveries.inc();
        }
        let waited_ms = hand.started_ms.saturating_sub(delivery.envelope.queued_ms);
        self.bench
            .metrics
            .queue_wait
            .with_label_values(&[kind])
            .observe(waited_ms as f64 / 1000.0);
        self.bench.metrics.in_flight.set(1);
        self.bench.board.begin(&hand.job.key, hand.job.kind());
        let ended = match self.attempt(&hand).await {
            Ok(ended) => Ok(ended),
            Err(error) => self.settle(&hand, error).await,
        };
        self.bench.board.end();
        self.bench.metrics.in_flight.set(0);
        self.bench.metrics.checkpoint_age.set(0.0);
        if let Ok(ended) = &ended {
            self.bench.metrics.jobs.with_label_values(&[kind, ended.label()]).inc();
        }
        ended
    }

    /// The way to a result; every error on it is a [`JobError`].
    async fn attempt(&self, hand: &Hand<'_>) -> Result<Ended, JobError> {
        if self.has_result(hand).await? {
            self.bench.metrics.cache_hits.inc();
            tracing::info!("result exists already");
            self.tell(hand, EventWhat::Done, true, String::new()).await;
            self.acknowledge(hand).await;
            return Ok(Ended::Cached);
        }
        let inputs = self.inputs(&hand.job.inputs).await?;
        self.tell(hand, EventWhat::Started, false, String::new()).await;
        let desk = Desk::new(self.bench.clone(), hand.job.clone(), hand.attempt.clone(), inputs).map_err(JobError::retry)?;
        let Finished { desk, outcome, took } = self.compute.perform(desk).await.map_err(JobError::bug)?;
        self.bench
            .metrics
            .durations
            .with_label_values(&[hand.job.kind().token()])
            .observe(took.as_secs_f64());
        let manifest = self.manifest(hand, desk, outcome?, took);
        failpoint("before-manifest");
        let committed = commit(self.bench.store.as_ref(), &self.verifier, &manifest)
            .await
            .map_err(JobError::retry)?;
        failpoint("after-manifest");
        let ended = match committed {
            Committed::Ours => {
                tracing::info!(compute_ms = manifest.timings.compute_ms, digest = %manifest.digest.short(), "done");
                self.tell(hand, EventWhat::Done, false, String::new()).await;
                Ended::Done
            }
            Committed::Theirs(winner) => {
                self.bench.metrics.superseded.inc();
                let message = superseded(&manifest, &winner);
                tracing::warn!(winner = %winner.attempt, "{message}");
                self.tell(hand, EventWhat::Superseded, false, message).await;
                self.tell(hand, EventWhat::Done, true, String::new()).await;
                Ended::Superseded
            }
        };
        failpoint("after-event");
        self.acknowledge(hand).await;
        checkpoints::remove(self.bench.store.as_ref(), &hand.job.key).await;
        Ok(ended)
    }

    async fn has_result(&self, hand: &Hand<'_>) -> Result<bool, JobError> {
        match self.verifier.look_up(&hand.job.key, false).await.map_err(JobError::retry)? {
            Found::Sound(_) => Ok(true),
            Found::Nothing => Ok(false),
            Found::Broken(reason, attempt) => {
                tracing::warn!(%reason, "the stored result does not verify; it is discarded and made again");
                self.verifier
                    .discard(&hand.job.key, attempt.as_ref())
                    .await
                    .map_err(JobError::retry)?;
                Ok(false)
            }
        }
    }

    /// The manifests of the inputs, each with the digest that the job pins.
    async fn inputs(&self, inputs: &[Input]) -> Result<Vec<(String, Manifest)>, JobError> {
        let read = inputs.iter().map(|input| async move {
            let bytes = self.bench.store.get(&manifest_key(&input.key)).await.map_err(JobError::retry)?;
            let bytes = bytes.ok_or_else(|| JobError::retry(anyhow!("input `{}`: manifest {} is missing", input.role, input.key)))?;
            let manifest = Manifest::decode(&bytes).map_err(|error| JobError::retry(anyhow!("input `{}`: {error}", input.role)))?;
            if manifest.digest != input.digest {
                let (found, expected) = (&manifest.digest, &input.digest);
                return Err(JobError::reject(anyhow!(
                    "input `{}`: manifest {} has digest {found}, the job pins {expected}: its result was made again and differs",
                    input.role,
                    input.key
                )));
            }
            Ok((input.role.clone(), manifest))
        });
        futures::future::try_join_all(read).await
    }

    fn manifest(&self, hand: &Hand<'_>, desk: Desk, outcome: Outcome, took: Duration) -> Manifest {
        let outputs = desk.into_outputs();
        let digest = Manifest::digest_of(&outputs, &outcome.result);
        let timings = Timings {
            queued_ms: hand.delivery.envelope.queued_ms,
            started_ms: hand.started_ms,
            finished_ms: now_ms(),
            compute_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        Manifest {
            schema: SCHEMA_VERSION,
            key: hand.job.key.clone(),
            attempt: hand.attempt.clone(),
            spec: hand.job.spec.clone(),
            inputs: hand.job.inputs.clone(),
            outputs,
            result: outcome.result,
            metrics: outcome.metrics.into_iter().filter(|(_, value)| value.is_finite()).collect(),
            timings,
            software: self.software.clone(),
            digest,
        }
    }

    /// What becomes of a job whose attempt failed: only the error's kind decides.
    async fn settle(&self, hand: &Hand<'_>, error: JobError) -> Result<Ended, RuntimeError> {
        let text = format!("{error:#}");
        match error {
            JobError::Drained => {
                tracing::info!("left at a checkpoint for another worker");
                self.give_back(hand.delivery).await?;
                Ok(Ended::Drained)
            }
            JobError::Reject { .. } => {
                tracing::error!(error = %text, "job rejected");
                self.bury(hand, FailureKind::Reject, text).await?;
                Ok(Ended::Reject)
            }
            JobError::Retry { after, .. } => {
                tracing::warn!(error = %text, failures = hand.delivery.envelope.failures + 1, "attempt failed");
                self.fail(hand, FailureKind::Retry, after, text).await?;
                Ok(Ended::Retry)
            }
            JobError::Bug { .. } => {
                tracing::error!(error = %text, failures = hand.delivery.envelope.failures + 1, "attempt failed by a mistake of the program");
                self.fail(hand, FailureKind::Bug, Duration::from_secs(5), text).await?;
                Ok(Ended::Bug)
            }
        }
    }

    /// Another try later, or none any more. What replaces the message is stored before the message is acknowledged.
    async fn fail(&self, hand: &Hand<'_>, failure: FailureKind, after: Duration, text: String) -> Result<(), RuntimeError> {
        let failures = hand.delivery.envelope.failures + 1;
        if failures >= self.max_failures {
            return self.bury(hand, failure, text).await;
        }
        self.tell(hand, EventWhat::Failed, false, text).await;
        self.postpone(hand.delivery, &hand.job, true, backoff(&hand.job.key, after, failures))
            .await
    }

    async fn bury(&self, hand: &Hand<'_>, failure: FailureKind, text: String) -> Result<(), RuntimeError> {
        let attempts = hand.delivery.envelope.failures + hand.delivery.delivered;
        let letter = letter_of(
            &hand.delivery.subject,
            &hand.delivery.payload,
            failure,
            text,
            attempts,
            self.software.worker.clone(),
        );
        self.queue.bury(&letter).await?;
        if let Err(error) = self.queue.tell(&dead_event(&letter), &hand.delivery.envelope).await {
            tracing::warn!(%error, "event not stored");
        }
        Ok(hand.delivery.receipt.double_ack().await?)
    }

    /// Stores the job for later and takes it off the queue.
    async fn postpone(&self, delivery: &Delivery, job: &Job, failed: bool, after: Duration) -> Result<(), RuntimeError> {
        let lane = (job.kind(), lane_priority(delivery, job));
        let envelope = republished(delivery.envelope, failed);
        match self.queue.delay(lane, &job.key, delivery.payload.clone(), envelope, after).await? {
            // Occupied: a delayed copy from an attempt that died before its acknowledgement waits already.
            Published::Stored | Published::Occupied => {}
        }
        failpoint("after-delay");
        Ok(delivery.receipt.double_ack().await?)
    }

    /// Gives a job back at once. A drain is no failure, so it must not use up the deliveries that the broker counts: when they
    /// run low, the job goes round through a delay of no length, which starts the count again.
    pub(crate) async fn give_back(&self, delivery: &Delivery) -> Result<(), RuntimeError> {
        if delivery.delivered + 2 >= self.max_deliver
            && let Ok(job) = Job::decode(&delivery.payload)
        {
            return self.postpone(delivery, &job, false, Duration::ZERO).await;
        }
        Ok(delivery.receipt.nak(None).await?)
    }

    /// A message that is no job of ours: one of a newer program waits for a newer worker, anything else is a dead letter.
    async fn refuse(&self, delivery: &Delivery, error: &ContractError) -> Result<Ended, RuntimeError> {
        if let ContractError::NewerSchema { .. } = error
            && let Ok((kind, priority, key)) = cedm_contract::parse_job_subject(&delivery.subject)
        {
            tracing::error!(%error, subject = %delivery.subject, "a job of a newer program: left for a newer worker");
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
        tracing::error!(%error, subject = %delivery.subject, "a message that is no job: moved to the dead letters");
        let letter = letter_of(
            &delivery.subject,
            &delivery.payload,
            FailureKind::Reject,
            error.to_string(),
            delivery.delivered,
            self.software.worker.clone(),
        );
        self.queue.bury(&letter).await?;
        delivery.receipt.double_ack().await?;
        Ok(Ended::Refused)
    }

    /// Events only wake: one that is lost is made good by the next reconciliation.
    async fn tell(&self, hand: &Hand<'_>, what: EventWhat, cached: bool, message: String) {
        let event = self.event(hand.delivery.envelope, &hand.job, &hand.attempt, what, cached, message);
        if let Err(error) = self.queue.tell(&event.0, &event.1).await {
            tracing::warn!(%error, %what, "event not stored");
        }
    }

    fn event(&self, envelope: Envelope, job: &Job, attempt: &Attempt, what: EventWhat, cached: bool, message: String) -> (Event, Envelope) {
        let event = Event {
            schema: SCHEMA_VERSION,
            key: job.key.clone(),
            kind: job.kind(),
            what,
            attempt: attempt.to_string(),
            worker: self.software.worker.clone(),
            at_ms: now_ms(),
            cached,
            done: 0,
            total: 0,
            unit: String::new(),
            message: message.chars().take(4000).collect(),
        };
        (event, envelope)
    }

    /// The last step. An acknowledgement that is lost is a redelivery that finds the manifest.
    async fn acknowledge(&self, hand: &Hand<'_>) {
        if let Err(error) = hand.delivery.receipt.double_ack().await {
            tracing::warn!(error = %chain(&error), "result committed, acknowledgement lost: the job comes again and finds its result");
        }
    }
}

/// The priority under which the job was queued; its own if somebody published by hand.
fn lane_priority(delivery: &Delivery, job: &Job) -> cedm_contract::Priority {
    cedm_contract::parse_job_subject(&delivery.subject).map_or(job.priority, |(_, priority, _)| priority)
}

fn superseded(ours: &Manifest, winner: &Manifest) -> String {
    let verdict = if ours.digest == winner.digest {
        "with the same result"
    } else {
        "with ANOTHER result: this job is not reproducible"
    };
    format!("attempt {} finished after {} had won, {verdict}", ours.attempt, winner.attempt)
}

/// Doubles with every failure, up to ten minutes; a tenth up or down by key, so that jobs that failed together do not come again
/// together.
fn backoff(key: &JobKey, first: Duration, failures: u64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let delay = first.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
    let jitter = blake3::hash(format!("{key} {failures}").as_bytes()).as_bytes()[0];
    delay.mul_f64(0.9 + 0.2 * f64::from(jitter) / 255.0)
}

impl From<LookUpError> for JobError {
    fn from(error: LookUpError) -> Self {
        JobError::retry(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_and_ends() {
        let key = JobKey::of(b"job");
        let seconds = |failures| backoff(&key, Duration::from_secs(5), failures).as_secs_f64();
        for (failures, expect) in [(1, 5.0), (2, 10.0), (3, 20.0), (4, 40.0), (30, 600.0), (u64::MAX, 600.0)] {
            let found = seconds(failures);
            assert!(
                (0.9 * expect..=1.1 * expect).contains(&found),
                "{failures}: {found} s, {expect} s expected"
            );
        }
    }
}

//! One attempt at one job, from its delivery to its acknowledgement.
//!
//! JetStream delivers at least once: a job is redelivered when its worker dies, when `ack_wait`
//! passes without a progress acknowledgement, or when an acknowledgement is lost. The order of the
//! steps makes one effect of many deliveries: (1) look up the manifest, for a job that is done is
//! only acknowledged; (2) read and verify the inputs; (3) compute, writing objects below a prefix
//! of this attempt alone; (4) commit the manifest by a create-only put, which exactly one attempt
//! wins; (5) publish the event; (6) acknowledge. A crash between any two steps leaves a job that
//! is redelivered and either finds the manifest or is computed again.

mod input_manifests;
mod settle;

pub(crate) use input_manifests::InputManifests;

use crate::{
    Outcome, RuntimeError, checkpoints,
    commit::{Committed, commit},
    compute::{Compute, Finished},
    error::{JobError, chain},
    failpoint::failpoint,
    held::held,
    job_context::{JobContext, WorkerContext},
    job_message,
    metrics::process::{
        CACHE_HITS, IN_FLIGHT, JOB_DURATION, JOBS, QUEUE_WAIT, REDELIVERIES, SUPERSEDED,
    },
    now_ms,
    queue::{Delivery, Queue},
    redeliverer,
    store::{StoreError, probe_write},
    verify::{Quarantine, StoredResult, Verifier},
};
use anyhow::anyhow;
use cedm_contract::{
    Attempt, Event, EventWhat, Job, Manifest, SCHEMA_VERSION, Software, SweepId, Timings,
};
use std::{sync::Arc, time::Duration};

/// Everything that attempts of one process share.
#[derive(Clone)]
pub(crate) struct AttemptRunner {
    pub queue: Arc<dyn Queue>,
    pub compute: Arc<dyn Compute>,
    pub worker: WorkerContext,
    pub verifier: Verifier,
    pub inputs: InputManifests,
    pub software: Software,
    /// Failures of a job, reported by workers, before it is dead.
    pub max_failures: u64,
    /// Deliveries before the broker gives up.
    pub max_deliver: u64,
}

/// How an attempt ended; the label `outcome` of `cedm_jobs_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    Done,
    Cached,
    Superseded,
    Retry,
    Reject,
    Bug,
    InputLost,
    Drained,
    Refused,
    OtherVersion,
    Cancelled,
    Stalled,
    DeviceLost,
}

impl AttemptEnd {
    pub(crate) const ALL: [AttemptEnd; 13] = [
        AttemptEnd::Done,
        AttemptEnd::Cached,
        AttemptEnd::Superseded,
        AttemptEnd::Retry,
        AttemptEnd::Reject,
        AttemptEnd::Bug,
        AttemptEnd::InputLost,
        AttemptEnd::Drained,
        AttemptEnd::Refused,
        AttemptEnd::OtherVersion,
        AttemptEnd::Cancelled,
        AttemptEnd::Stalled,
        AttemptEnd::DeviceLost,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            AttemptEnd::Done => "done",
            AttemptEnd::Cached => "cached",
            AttemptEnd::Superseded => "superseded",
            AttemptEnd::Retry => "retry",
            AttemptEnd::Reject => "reject",
            AttemptEnd::Bug => "bug",
            AttemptEnd::InputLost => "input_lost",
            AttemptEnd::Drained => "drained",
            AttemptEnd::Refused => "refused",
            AttemptEnd::OtherVersion => "other_version",
            AttemptEnd::Cancelled => "cancelled",
            AttemptEnd::Stalled => "stalled",
            AttemptEnd::DeviceLost => "device_lost",
        }
    }
}

/// A job that is being performed.
struct InFlight<'a> {
    job: Job,
    attempt: Attempt,
    delivery: &'a Delivery,
    started_ms: u64,
}

impl AttemptRunner {
    /// Performs a delivered job and settles its message. An error means that the broker could not
    /// be reached at the end: the job will be redelivered.
    pub(crate) async fn handle(&self, delivery: &Delivery) -> Result<AttemptEnd, RuntimeError> {
        let read = job_message::read(&delivery.subject, &delivery.payload, &delivery.envelope);
        let job = match read {
            Ok(job) => job,
            Err(error) => return self.quarantine(delivery, &error).await,
        };
        let attempt = Attempt::new(delivery.sequence, delivery.delivered);
        let in_flight = InFlight {
            job,
            attempt,
            delivery,
            started_ms: now_ms(),
        };
        let kind = in_flight.job.kind().token();
        if delivery.delivered > 1 {
            self.worker.metrics.add(&REDELIVERIES, 1);
        }
        let waited_ms = in_flight
            .started_ms
            .saturating_sub(delivery.envelope.queued_ms);
        let metrics = &self.worker.metrics;
        metrics.observe_at(&QUEUE_WAIT, [kind], waited_ms as f64 / 1000.0);
        metrics.set(&IN_FLIGHT, 1.0);
        self.worker
            .progress_table
            .begin(&in_flight.job.key, in_flight.job.kind());
        let attempted = tokio::select! {
            ended = self.attempt(&in_flight) => ended,
            stall = self.worker.progress_table.stalled(&self.worker.stall_limits) => {
                Err(JobError::Stalled(stall))
            }
        };
        let ended = match attempted {
            Ok(ended) => Ok(ended),
            Err(error) => self.settle(&in_flight, error).await,
        };
        self.worker.progress_table.end();
        metrics.set(&IN_FLIGHT, 0.0);
        if let Ok(ended) = &ended {
            metrics.add_at(&JOBS, [kind, ended.label()], 1);
        }
        ended
    }

    /// Whether the store answers, and can be written.
    pub(crate) async fn store_answers(&self) -> Result<(), StoreError> {
        probe_write(self.worker.store.as_ref()).await
    }

    /// All steps up to the acknowledgement; every error on the way is a [`JobError`].
    async fn attempt(&self, in_flight: &InFlight<'_>) -> Result<AttemptEnd, JobError> {
        if self.has_result(in_flight).await? {
            self.worker.metrics.add(&CACHE_HITS, 1);
            tracing::info!("result exists already");
            self.publish_event(in_flight, EventWhat::Done, true, String::new())
                .await;
            self.acknowledge(in_flight).await;
            if in_flight.delivery.delivered > 1 {
                // Whoever had it before may have died on the way from its commit to the end of this
                // list.
                checkpoints::remove(self.worker.store.as_ref(), &in_flight.job.key).await;
            }
            return Ok(AttemptEnd::Cached);
        }
        if let Some((sweep, state)) = self.held_sweep(in_flight).await {
            return Ok(self.drop_held(in_flight, &sweep, state).await);
        }
        failpoint("before-inputs");
        let inputs = self.inputs.all(&in_flight.job.inputs).await?;
        self.publish_event(in_flight, EventWhat::Started, false, String::new())
            .await;
        let context = JobContext::new(
            self.worker.clone(),
            in_flight.job.clone(),
            in_flight.attempt.clone(),
            inputs,
        )
        .map_err(JobError::retry)?;
        let Finished {
            context,
            outcome,
            took,
        } = self.compute.perform(context).await.map_err(JobError::bug)?;
        self.worker.metrics.observe_at(
            &JOB_DURATION,
            [in_flight.job.kind().token()],
            took.as_secs_f64(),
        );
        let manifest = self.manifest(in_flight, context, outcome?, took);
        failpoint("before-manifest");
        let committed = commit(self.worker.store.as_ref(), &self.verifier, &manifest)
            .await
            .map_err(JobError::retry)?;
        failpoint("after-manifest");
        let ended = match committed {
            Committed::Ours => {
                tracing::info!(compute_ms = manifest.timings.compute_ms, digest = %manifest.digest.short(), "done");
                self.publish_event(in_flight, EventWhat::Done, false, String::new())
                    .await;
                AttemptEnd::Done
            }
            Committed::Theirs(winner) => {
                self.worker.metrics.add(&SUPERSEDED, 1);
                let message = superseded(&manifest, &winner);
                tracing::warn!(winner = %winner.attempt, "{message}");
                self.publish_event(in_flight, EventWhat::Superseded, false, message)
                    .await;
                self.publish_event(in_flight, EventWhat::Done, true, String::new())
                    .await;
                AttemptEnd::Superseded
            }
        };
        failpoint("after-event");
        self.acknowledge(in_flight).await;
        failpoint("after-acknowledgement");
        checkpoints::remove(self.worker.store.as_ref(), &in_flight.job.key).await;
        Ok(ended)
    }

    /// The sweep that asked for the job, where it is cancelled or paused, and which of both: the
    /// job was in a worker's hands, or on its way back from a delay, when the queue was cleared. A
    /// store that does not answer is for the next steps to find out.
    async fn held_sweep(&self, in_flight: &InFlight<'_>) -> Option<(SweepId, &'static str)> {
        let sweep = in_flight.job.hints.sweep.as_ref()?;
        let state = held(self.worker.store.as_ref(), sweep)
            .await
            .ok()
            .flatten()?;
        Some((sweep.clone(), state))
    }

    /// Takes a job off the queue that nobody wants now. Where another sweep needs it after all, the
    /// coordinator submits it for that one: the event comes last, so that it finds the queue
    /// without it. So it does when a paused sweep is resumed.
    async fn drop_held(
        &self,
        in_flight: &InFlight<'_>,
        sweep: &SweepId,
        state: &str,
    ) -> AttemptEnd {
        tracing::info!(%sweep, state, "its sweep is held: the job is not performed");
        self.acknowledge(in_flight).await;
        let event = Event {
            message: format!("sweep {sweep} is {state}: its job was not performed"),
            ..redeliverer::event(in_flight.job.kind(), &in_flight.job.key, EventWhat::Failed)
        };
        let sent = self
            .queue
            .publish_event(&event, &in_flight.delivery.envelope);
        if let Err(error) = sent.await {
            tracing::warn!(error = %chain(&error), "event not stored");
        }
        AttemptEnd::Cancelled
    }

    async fn has_result(&self, in_flight: &InFlight<'_>) -> Result<bool, JobError> {
        match self
            .verifier
            .look_up(&in_flight.job.key, false)
            .await
            .map_err(JobError::retry)?
        {
            StoredResult::Sound(_) => Ok(true),
            StoredResult::Nothing => Ok(false),
            StoredResult::Broken(reason) => {
                tracing::warn!(%reason, "the stored result does not verify; looked at again");
                let key = &in_flight.job.key;
                match self
                    .verifier
                    .quarantine(key, false)
                    .await
                    .map_err(JobError::retry)?
                {
                    Quarantine::Sound(_) => Ok(true),
                    Quarantine::Gone => Ok(false),
                    Quarantine::Noticed(reason) => Err(JobError::retry(anyhow!(
                        "the stored result does not verify, and the coordinator has to move it \
                         aside first: {reason}"
                    ))),
                }
            }
        }
    }

    fn manifest(
        &self,
        in_flight: &InFlight<'_>,
        context: JobContext,
        outcome: Outcome,
        took: Duration,
    ) -> Manifest {
        let timings = Timings {
            queued_ms: in_flight.delivery.envelope.queued_ms,
            started_ms: in_flight.started_ms,
            finished_ms: now_ms(),
            compute_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        let (job, attempt) = (in_flight.job.clone(), in_flight.attempt.clone());
        Manifest {
            metrics: outcome
                .metrics
                .into_iter()
                .filter(|(_, value)| value.is_finite())
                .collect(),
            timings,
            software: self.software.clone(),
            ..Manifest::of(job, attempt, context.into_outputs(), outcome.result)
        }
    }

    /// Events are hints: after a lost one, the coordinator's next reconciliation finds the result.
    async fn publish_event(
        &self,
        in_flight: &InFlight<'_>,
        what: EventWhat,
        cached: bool,
        message: String,
    ) {
        let event = Event {
            schema: SCHEMA_VERSION,
            key: in_flight.job.key.clone(),
            kind: in_flight.job.kind(),
            what,
            attempt: Some((&in_flight.attempt).into()),
            worker: self.software.worker.clone(),
            at_ms: now_ms(),
            cached,
            done: 0,
            total: 0,
            unit: String::new(),
            message: message.chars().take(4000).collect(),
        };
        if let Err(error) = self
            .queue
            .publish_event(&event, &in_flight.delivery.envelope)
            .await
        {
            tracing::warn!(error = %chain(&error), %what, "event not stored");
        }
    }

    /// The last step. If the acknowledgement is lost, the redelivery finds the manifest.
    async fn acknowledge(&self, in_flight: &InFlight<'_>) {
        if let Err(error) = in_flight.delivery.receipt.double_ack().await {
            tracing::warn!(error = %chain(&error), "result committed, acknowledgement lost: the \
                redelivery will find the result");
        }
    }
}

fn superseded(ours: &Manifest, winner: &Manifest) -> String {
    let verdict = if ours.digest == winner.digest {
        "with the same result"
    } else {
        "with a different result: this job is not reproducible"
    };
    format!(
        "attempt {} finished after {} had won, {verdict}",
        ours.attempt, winner.attempt
    )
}

//! Submission: every ready job of a plan is looked up in the store, and queued when it has no
//! result.

use super::{CONCURRENCY, Coordinator, while_alive};
use crate::metrics::{CACHE_HITS, LAST_PROGRESS, SUBMITTED};
use cedm_contract::{Job, JobKey, Manifest};
use cedm_planner::{ObservedState, Plan, State, plan};
use cedm_runtime::{DeadLetters, RuntimeError, SubmitOutcome, Submitter, now_ms};
use cedm_sweep::Sweep;
use futures::{StreamExt, TryStreamExt};

/// The state of a job after it was submitted.
enum Submitted {
    /// It has a result.
    Done(Box<Manifest>),
    /// It is in the queue.
    Queued(JobKey),
    /// It is in the queue again, in place of a letter whose job could not be read.
    Renewed(JobKey),
    /// It cannot be run.
    Dead { job: Box<Job>, error: String },
}

impl Coordinator {
    /// Submits every ready job. Plans again while that reveals results or dead jobs, since either
    /// can make further jobs ready or blocked. Returns the last plan.
    pub(super) async fn submit_ready(&mut self, sweep: &Sweep) -> anyhow::Result<Plan> {
        self.load_imports(sweep).await?;
        loop {
            let mut current = plan(sweep, &self.known);
            if !self.suspect.is_empty() && self.recheck_inputs(&current).await? {
                current = plan(sweep, &self.known);
            }
            if self.give_up_unsendable(&current).await? {
                continue;
            }
            let jobs: Vec<Job> = current
                .ready()
                .into_iter()
                .filter(|job| !self.queued.contains(&job.key))
                .cloned()
                .collect();
            if jobs.is_empty() {
                return Ok(current);
            }
            let submitter = &self.submitter;
            let (letters, renewed) = (&self.letters, &self.renewed);
            let submissions = futures::stream::iter(jobs)
                .map(|job| async move {
                    let may_renew = !renewed.contains(&job.key);
                    submit(submitter, (letters, may_renew), sweep, &job).await
                })
                .buffer_unordered(CONCURRENCY)
                .try_collect::<Vec<Submitted>>();
            let submitted = while_alive(self.process.health(), submissions).await?;
            let mut changed = false;
            for outcome in submitted {
                changed |= self.record(sweep, outcome);
            }
            if !changed {
                return Ok(current);
            }
        }
    }

    /// Puts jobs that no message can hold among the dead letters, where a person finds them by
    /// their keys. Returns whether there was one that is not there yet.
    async fn give_up_unsendable(&mut self, plan: &Plan) -> anyhow::Result<bool> {
        let mut any = false;
        for node in &plan.nodes {
            let (State::Dead { .. }, Some(job), Some(reason)) =
                (&node.state, &node.job, node.unsendable())
            else {
                continue;
            };
            if self.known.is_dead(&job.key) {
                continue;
            }
            self.letters.give_up(job, &reason).await?;
            tracing::error!(sweep = %plan.sweep, job = %job.key, label = node.id, reason, "a job cannot be queued; jobs that need it are blocked");
            // Its letter may be without it, and would count as one whose job is to be queued anew.
            self.renewed.insert(job.key.clone());
            self.known.record_dead(job.key.clone(), reason);
            any = true;
        }
        Ok(any)
    }

    /// Reads the import manifests, on which the first plan depends.
    async fn load_imports(&mut self, sweep: &Sweep) -> anyhow::Result<()> {
        for key in sweep.image_sets() {
            if self.known.manifest(key).is_none()
                && let Some(manifest) = self.submitter.manifest(key).await?
            {
                self.known.record(manifest);
            }
        }
        Ok(())
    }

    /// Updates the cache by a submission. Returns whether the plan may have changed.
    fn record(&mut self, sweep: &Sweep, outcome: Submitted) -> bool {
        let metrics = self.process.metrics();
        match outcome {
            Submitted::Done(manifest) => {
                if manifest.timings.finished_ms < sweep.submitted_ms {
                    metrics.add(&CACHE_HITS, 1);
                }
                metrics.set(&LAST_PROGRESS, now_ms() as f64 / 1000.0);
                self.known.record(*manifest);
                true
            }
            Submitted::Queued(key) => {
                metrics.add(&SUBMITTED, 1);
                self.queued.insert(key);
                false
            }
            Submitted::Renewed(key) => {
                metrics.add(&SUBMITTED, 1);
                tracing::warn!(sweep = %sweep.id, job = %key, "its dead letter held no readable job: queued anew");
                self.renewed.insert(key.clone());
                self.queued.insert(key);
                false
            }
            Submitted::Dead { job, error } => {
                tracing::warn!(sweep = %sweep.id, job = %job.key, kind = %job.kind(), error, "job is dead; jobs that need it are blocked");
                self.known.record_dead(job.key.clone(), error);
                true
            }
        }
    }
}

/// Looks up the result of a job, and queues the job when it has none. A result from before the
/// sweep is verified to the byte; one that was made for it is checked by the sizes of its objects,
/// since the worker verified its upload moments ago. Where `may_renew` says so, a letter whose job
/// cannot be read is replaced by this job.
async fn submit(
    submitter: &Submitter,
    (letters, may_renew): (&DeadLetters, bool),
    sweep: &Sweep,
    job: &Job,
) -> Result<Submitted, RuntimeError> {
    if let Ok(Some(manifest)) = submitter.manifest(&job.key).await
        && manifest.timings.finished_ms >= sweep.submitted_ms
    {
        return Ok(Submitted::Done(Box::new(manifest)));
    }
    let dead = |error: String| Submitted::Dead {
        job: Box::new(job.clone()),
        error,
    };
    let outcome = match submitter.submit(job).await {
        // A result of a newer program, say: trying again does not help, and only this job fails.
        Err(RuntimeError::Contract(error)) => {
            letters.give_up(job, &error.to_string()).await?;
            return Ok(dead(error.to_string()));
        }
        outcome => outcome?,
    };
    match outcome {
        SubmitOutcome::Cached(manifest) => {
            submitter.publish_done(&manifest, true).await?;
            Ok(Submitted::Done(manifest))
        }
        SubmitOutcome::Queued => {
            tracing::info!(sweep = %sweep.id, job = %job.key, kind = %job.kind(), label = %job.hints.label, "submitted");
            Ok(Submitted::Queued(job.key.clone()))
        }
        SubmitOutcome::AlreadyQueued => Ok(Submitted::Queued(job.key.clone())),
        SubmitOutcome::Dead(letter) if may_renew && letter.job.is_none() => {
            letters.renew(job).await?;
            Ok(Submitted::Renewed(job.key.clone()))
        }
        SubmitOutcome::Dead(letter) => Ok(dead(letter.error)),
    }
}

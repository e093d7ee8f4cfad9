//! Submission: every ready job of a plan is looked up in the store, and queued when it has no
//! result.

use super::{Active, CONCURRENCY, Coordinator, while_alive};
use crate::metrics::{CACHE_HITS, LAST_PROGRESS, SUBMITTED};
use cedm_contract::{Job, JobKey, Manifest, SweepId};
use cedm_planner::ObservedState;
use cedm_runtime::{DeadLetters, RuntimeError, SubmitOutcome, Submitter, now_ms};
use cedm_sweep::Sweep;
use futures::{StreamExt, TryStreamExt};

/// Jobs submitted in one go: what became of them is noted in between.
const AT_ONCE: usize = 1_024;

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
    /// Submits every ready job of a sweep, and those that become ready by results which that reveals.
    pub(super) async fn submit_ready(&mut self, id: &SweepId) -> anyhow::Result<()> {
        let Some(sweep) = self.sweeps.get(id).map(|active| active.sweep.clone()) else {
            return Ok(());
        };
        self.learn_imports(&sweep).await?;
        if !self.suspect.is_empty() {
            self.recheck_inputs(id).await?;
        }
        loop {
            self.give_up_unsendable(id).await?;
            let Some(active) = self.sweeps.get_mut(id) else {
                return Ok(());
            };
            let keys: Vec<JobKey> = active.pending.iter().take(AT_ONCE).cloned().collect();
            if keys.is_empty() {
                return Ok(());
            }
            let ready = keys.iter().filter(|key| active.graph.is_ready(key));
            let jobs: Vec<Job> = ready
                .filter_map(|key| active.graph.job(key, &self.known))
                .collect();
            let submitter = &self.submitter;
            let (letters, renewed) = (&self.letters, &self.renewed);
            let (of_sweep, concurrency) = (sweep.as_ref(), CONCURRENCY);
            let submissions = futures::stream::iter(jobs)
                .map(|job| async move {
                    let may_renew = !renewed.contains(&job.key);
                    submit(submitter, (letters, may_renew), of_sweep, &job).await
                })
                .buffer_unordered(concurrency)
                .try_collect::<Vec<Submitted>>();
            let submitted = while_alive(self.process.health(), submissions).await?;
            if let Some(active) = self.sweeps.get_mut(id) {
                for key in &keys {
                    active.pending.remove(key);
                }
            }
            for outcome in submitted {
                self.record(&sweep, outcome);
            }
        }
    }

    /// Puts jobs that no message can hold among the dead letters, where a person finds them by their
    /// keys.
    async fn give_up_unsendable(&mut self, id: &SweepId) -> anyhow::Result<()> {
        let Some(active) = self.sweeps.get_mut(id) else {
            return Ok(());
        };
        for (job, reason) in active.graph.take_unsendable(&self.known) {
            let given_up = self.letters.give_up(&job, &reason).await;
            if let Err(error) = given_up {
                // Those after it are found again by the graph that is made anew.
                if let Some(active) = self.sweeps.get_mut(id) {
                    *active = Active::new((*active.sweep).clone(), &self.known, &self.queued);
                }
                return Err(error.into());
            }
            tracing::error!(sweep = %id, job = %job.key, label = job.hints.label, reason, "a job cannot be queued; jobs that need it are blocked");
            // Its letter may be without it, and would count as one whose job is to be queued anew.
            self.renewed.insert(job.key.clone());
            self.known.record_dead(job.key.clone(), reason);
            self.changed(&job.key);
        }
        Ok(())
    }

    /// Reads the import manifests, on which the first plan depends.
    pub(super) async fn learn_imports(&mut self, sweep: &Sweep) -> anyhow::Result<()> {
        for key in std::iter::once(&sweep.images).chain(&sweep.test_images) {
            if self.known.manifest(key).is_none()
                && let Some(manifest) = self.submitter.manifest(key).await?
            {
                self.known.record(manifest);
                self.changed(key);
            }
        }
        Ok(())
    }

    /// Updates the cache by a submission.
    fn record(&mut self, sweep: &Sweep, outcome: Submitted) {
        let metrics = self.process.metrics();
        match outcome {
            Submitted::Done(manifest) => {
                if manifest.timings.finished_ms < sweep.submitted_ms {
                    metrics.add(&CACHE_HITS, 1);
                }
                metrics.set(&LAST_PROGRESS, now_ms() as f64 / 1000.0);
                let key = manifest.key.clone();
                self.known.record(*manifest);
                self.changed(&key);
            }
            Submitted::Queued(key) => {
                metrics.add(&SUBMITTED, 1);
                self.queued.insert(key, sweep.spec.priority);
            }
            Submitted::Renewed(key) => {
                metrics.add(&SUBMITTED, 1);
                tracing::warn!(sweep = %sweep.id, job = %key, "its dead letter held no readable job: queued anew");
                self.renewed.insert(key.clone());
                self.queued.insert(key, sweep.spec.priority);
            }
            Submitted::Dead { job, error } => {
                tracing::warn!(sweep = %sweep.id, job = %job.key, kind = %job.kind(), error, "job is dead; jobs that need it are blocked");
                self.known.record_dead(job.key.clone(), error);
                self.changed(&job.key);
            }
        }
    }
}

/// Looks up the result of a job, and queues the job when it has none. A result from before the sweep
/// is verified to the byte; one that was made for it is checked by the sizes of its objects, since
/// the worker verified its upload moments ago. Where `may_renew` says so, a letter whose job cannot be
/// read is replaced by this job.
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
            submitter.announce_done(&manifest, true).await?;
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

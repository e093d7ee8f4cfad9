//! Desired minus done minus queued: what is left is submitted. Idempotent, so that it can run at any time, anywhere, twice.

use crate::{report, sweeps};
use cedm_contract::{DeadLetter, Event, EventWhat, Job, JobKey, Manifest, SweepId, sweep::Sweep};
use cedm_planner::{Knowledge, Known, Plan, plan};
use cedm_runtime::{Connection, DeadLetters, RuntimeError, Shell, SubmitOutcome, Submitter, now_ms};
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Submissions under way at once.
const AT_ONCE: usize = 16;

/// Everything the coordinator knows. All of it can be lost: it is read again from the store and the queue.
pub(crate) struct Coordinator {
    shell: Shell,
    submitter: Submitter,
    letters: DeadLetters,
    sweeps: BTreeMap<SweepId, Sweep>,
    known: Known,
    /// Jobs that were in the queue when last looked at, and have not been heard of since.
    queued: BTreeSet<JobKey>,
}

/// What became of asking for a job.
enum Asked {
    Done(Box<Manifest>),
    Queued(JobKey),
    Dead(Box<DeadLetter>),
}

impl Coordinator {
    pub(crate) fn new(shell: &Shell) -> Self {
        let connection = shell.connection();
        Self {
            shell: shell.clone(),
            submitter: Submitter::new(connection),
            letters: DeadLetters::new(connection),
            sweeps: BTreeMap::new(),
            known: Known::default(),
            queued: BTreeSet::new(),
        }
    }

    fn connection(&self) -> &Connection {
        self.shell.connection()
    }

    /// Takes note of what happened; whether a plan may change by it.
    pub(crate) fn hear(&mut self, event: &Event) -> bool {
        match event.what {
            EventWhat::Done | EventWhat::Superseded => {
                self.queued.remove(&event.key);
                true
            }
            EventWhat::Dead => {
                self.queued.remove(&event.key);
                true
            }
            // Without an attempt it says that a stored result was discarded.
            EventWhat::Failed if event.attempt.is_empty() => {
                self.known.forget(&event.key);
                self.queued.remove(&event.key);
                true
            }
            EventWhat::Started if self.known.is_dead(&event.key) => {
                self.known.revive(&event.key);
                self.queued.insert(event.key.clone());
                true
            }
            EventWhat::Started | EventWhat::Progress | EventWhat::Failed => false,
        }
    }

    /// Reads everything again: which sweeps are active, which jobs are queued, which are dead. Then goes on with every sweep.
    pub(crate) async fn from_the_start(&mut self) -> anyhow::Result<()> {
        let store = self.connection().store().clone();
        let active = sweeps::listed(store.as_ref()).await?;
        sweeps::remember(self.connection(), &active).await?;
        self.sweeps.retain(|id, _| active.contains(id));
        for id in active {
            self.take_up(&id).await?;
        }
        let outstanding = self.submitter.outstanding(None).await?;
        self.queued = outstanding.into_iter().map(|job| job.key).collect();
        let letters = self.letters.list().await?;
        self.known.set_dead(
            letters
                .into_iter()
                .map(|letter| (letter.key, letter.error))
                .collect::<HashMap<_, _>>(),
        );
        self.go_on().await
    }

    /// Reads a sweep, if it is new.
    pub(crate) async fn take_up(&mut self, id: &SweepId) -> anyhow::Result<()> {
        if self.sweeps.contains_key(id) {
            return Ok(());
        }
        match sweeps::load(self.connection().store().as_ref(), id).await {
            Ok(Some(sweep)) => {
                tracing::info!(sweep = %id, clusterings = sweep.spec.clusterings.len(), "sweep taken up");
                self.sweeps.insert(id.clone(), sweep);
            }
            Ok(None) => {}
            // One sweep that cannot be read must not stop the others.
            Err(error) => tracing::error!(sweep = %id, error = %format!("{error:#}"), "sweep cannot be read"),
        }
        Ok(())
    }

    /// Takes up a sweep that the bucket told of, or lets go of one that has ended.
    pub(crate) async fn look_at(&mut self, id: &SweepId) -> anyhow::Result<()> {
        if sweeps::has_ended(self.connection().store().as_ref(), id).await? {
            self.sweeps.remove(id);
            return Ok(());
        }
        self.take_up(id).await
    }

    /// Goes on with every active sweep as far as it goes without waiting.
    pub(crate) async fn go_on(&mut self) -> anyhow::Result<()> {
        self.shell.metrics().add("cedm_reconciles_total", 1);
        let ids: Vec<SweepId> = self.sweeps.keys().cloned().collect();
        for id in ids {
            let sweep = self.sweeps[&id].clone();
            let plan = self.submit_ready(&sweep).await?;
            self.shell.health().tick();
            if plan.settled() && report::make(&self.shell, &self.submitter, &sweep, &mut self.known, &plan).await? {
                self.shell.metrics().add("cedm_reports_total", 1);
            }
            if plan.complete() && sweeps::has_ended(self.connection().store().as_ref(), &id).await? {
                sweeps::forget(self.connection(), &id).await?;
                self.sweeps.remove(&id);
            }
        }
        self.shell.metrics().set("cedm_sweeps_active", self.sweeps.len() as f64);
        Ok(())
    }

    /// Submits what could run, and plans again as long as results turn up that are there already.
    async fn submit_ready(&mut self, sweep: &Sweep) -> anyhow::Result<Plan> {
        for key in std::iter::once(&sweep.images).chain(&sweep.test_images) {
            if self.known.manifest(key).is_none()
                && let Some(manifest) = self.submitter.manifest(key).await?
            {
                self.known.learn(manifest);
            }
        }
        loop {
            let plan = plan(sweep, &self.known);
            let jobs: Vec<Job> = plan
                .ready()
                .into_iter()
                .filter(|job| !self.queued.contains(&job.key))
                .cloned()
                .collect();
            if jobs.is_empty() {
                return Ok(plan);
            }
            let (submitter, metrics) = (&self.submitter, self.shell.metrics());
            let asked: Vec<Asked> = futures::stream::iter(jobs)
                .map(|job| async move { ask(submitter, sweep, &job).await })
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            let mut changed = false;
            for answer in asked {
                match answer {
                    Asked::Done(manifest) => {
                        if manifest.timings.finished_ms < sweep.submitted_ms {
                            metrics.add("cedm_sweep_cache_hits_total", 1);
                        }
                        metrics.set("cedm_sweep_last_progress_timestamp_seconds", now_ms() as f64 / 1000.0);
                        self.known.learn(*manifest);
                        changed = true;
                    }
                    Asked::Queued(key) => {
                        metrics.add("cedm_jobs_submitted_total", 1);
                        self.queued.insert(key);
                    }
                    Asked::Dead(letter) => {
                        tracing::warn!(sweep = %sweep.id, job = %letter.key, kind = %letter.kind, error = %letter.error, "job is dead; its cell fails, the rest goes on");
                        self.known.bury(letter.key.clone(), letter.error.clone());
                        changed = true;
                    }
                }
            }
            if !changed {
                return Ok(plan);
            }
        }
    }
}

/// Looks for the result of a job, and submits it when there is none. Results from before the sweep are verified to the byte;
/// those made for it a moment ago by their sizes.
async fn ask(submitter: &Submitter, sweep: &Sweep, job: &Job) -> Result<Asked, RuntimeError> {
    if let Some(manifest) = submitter.manifest(&job.key).await?
        && manifest.timings.finished_ms >= sweep.submitted_ms
    {
        return Ok(Asked::Done(Box::new(manifest)));
    }
    match submitter.submit(job).await? {
        SubmitOutcome::Cached(manifest) => {
            submitter.announce_done(&manifest, true).await?;
            Ok(Asked::Done(manifest))
        }
        SubmitOutcome::Queued => {
            tracing::info!(sweep = %sweep.id, job = %job.key, kind = %job.kind(), label = %job.hints.label, "submitted");
            Ok(Asked::Queued(job.key.clone()))
        }
        SubmitOutcome::AlreadyQueued => Ok(Asked::Queued(job.key.clone())),
        SubmitOutcome::Dead(letter) => Ok(Asked::Dead(letter)),
    }
}

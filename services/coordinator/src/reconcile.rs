//! Desired minus done minus queued: what is left is submitted. Idempotent, so that it can run at
//! any time, anywhere, twice.

use crate::{
    metrics::{CACHE_HITS, LAST_PROGRESS, RECONCILES, REPORTS, SUBMITTED, SWEEPS_ACTIVE},
    report, sweeps,
};
use cedm_contract::{Event, EventWhat, Job, JobKey, Manifest, SweepId};
use cedm_planner::{Observed, ObservedState, Plan, plan};
use cedm_runtime::{
    Connection, DeadLetters, Health, RuntimeError, ServiceProcess, SubmitOutcome, Submitter, now_ms,
};
use cedm_sweep::Sweep;
use futures::{StreamExt, TryStreamExt};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// Submissions under way at once.
const AT_ONCE: usize = 16;

/// Everything the coordinator knows. All of it can be lost: it is read again from the store and the
/// queue.
pub(crate) struct Coordinator {
    process: ServiceProcess,
    submitter: Submitter,
    letters: DeadLetters,
    sweeps: BTreeMap<SweepId, Sweep>,
    known: Observed,
    /// Jobs that were in the queue when last looked at, and have not been heard of since.
    queued: BTreeSet<JobKey>,
    /// Jobs with a failed attempt: what they read is looked at again, for it may be gone.
    doubtful: BTreeSet<JobKey>,
}

/// What became of asking for a job.
enum Asked {
    Done(Box<Manifest>),
    Queued(JobKey),
    Dead { job: Box<Job>, error: String },
}

impl Coordinator {
    pub(crate) fn new(process: &ServiceProcess) -> Self {
        let connection = process.connection();
        Self {
            process: process.clone(),
            submitter: Submitter::new(connection),
            letters: DeadLetters::new(connection),
            sweeps: BTreeMap::new(),
            known: Observed::default(),
            queued: BTreeSet::new(),
            doubtful: BTreeSet::new(),
        }
    }

    fn connection(&self) -> &Connection {
        self.process.connection()
    }

    /// Takes note of what happened; whether a plan may change by it.
    pub(crate) fn on_event(&mut self, event: &Event) -> bool {
        match event.what {
            EventWhat::Done | EventWhat::Superseded | EventWhat::Dead => {
                self.queued.remove(&event.key);
                true
            }
            // Without an attempt it says that a stored result was discarded.
            EventWhat::Failed if event.attempt.is_none() => {
                self.known.remove(&event.key);
                self.queued.remove(&event.key);
                true
            }
            EventWhat::Started if self.known.is_dead(&event.key) => {
                self.known.clear_dead(&event.key);
                self.queued.insert(event.key.clone());
                true
            }
            EventWhat::Failed => {
                self.doubtful.insert(event.key.clone());
                true
            }
            EventWhat::Started | EventWhat::Progress => false,
        }
    }

    /// Reads everything again: which sweeps are active, which jobs are queued, which are dead. Then
    /// goes on with every sweep.
    pub(crate) async fn resync(&mut self) -> anyhow::Result<()> {
        let store = self.connection().store().clone();
        let active = sweeps::listed(store.as_ref()).await?;
        sweeps::remember(self.connection(), &active).await?;
        let (kept, ended) = std::mem::take(&mut self.sweeps)
            .into_iter()
            .partition(|(id, _)| active.contains(id));
        self.sweeps = kept;
        let ended: BTreeMap<SweepId, Sweep> = ended;
        for sweep in ended.into_values() {
            self.withdraw(&sweep).await?;
        }
        for id in active {
            self.adopt(&id).await?;
        }
        let outstanding = self.submitter.outstanding(None).await?;
        self.queued = outstanding.into_iter().map(|job| job.key).collect();
        let letters = self.letters.list().await?;
        self.known.replace_dead(
            letters
                .into_iter()
                .map(|letter| (letter.key, letter.error))
                .collect::<HashMap<_, _>>(),
        );
        self.reconcile().await
    }

    /// Reads a sweep, if it is new.
    pub(crate) async fn adopt(&mut self, id: &SweepId) -> anyhow::Result<()> {
        if self.sweeps.contains_key(id) {
            return Ok(());
        }
        match sweeps::load(self.connection().store().as_ref(), id).await {
            Ok(Some(sweep)) => {
                tracing::info!(sweep = %id, clusterings = sweep.spec.clusterings.len(), "sweep \
                    taken up");
                self.sweeps.insert(id.clone(), sweep);
            }
            Ok(None) => {}
            // One sweep that cannot be read must not stop the others.
            Err(error) => {
                tracing::error!(sweep = %id, error = %format!("{error:#}"), "sweep cannot be read")
            }
        }
        Ok(())
    }

    /// Takes up a sweep that the bucket told of, or lets go of one that has ended.
    pub(crate) async fn refresh(&mut self, id: &SweepId) -> anyhow::Result<()> {
        if sweeps::has_ended(self.connection().store().as_ref(), id).await? {
            if let Some(sweep) = self.sweeps.remove(id) {
                self.withdraw(&sweep).await?;
            }
            return Ok(());
        }
        self.adopt(id).await
    }

    /// Takes the jobs of a sweep that was ended off the queue, unless another sweep wants them.
    /// Whoever ended it does the same; this finds what was submitted at that moment.
    async fn withdraw(&mut self, sweep: &Sweep) -> anyhow::Result<()> {
        let plans: Vec<Plan> = self
            .sweeps
            .values()
            .map(|other| plan(other, &self.known))
            .collect();
        let wanted = |key: &JobKey| plans.iter().any(|plan| plan.nodes_of(key).next().is_some());
        for job in plan(sweep, &self.known).ready() {
            if self.queued.contains(&job.key) && !wanted(&job.key) {
                self.submitter.cancel(job.kind(), &job.key).await?;
                self.queued.remove(&job.key);
            }
        }
        Ok(())
    }

    /// Goes on with every active sweep as far as it goes without waiting. What one sweep stumbles
    /// over does not stop the others.
    pub(crate) async fn reconcile(&mut self) -> anyhow::Result<()> {
        self.process.metrics().add(&RECONCILES, 1);
        let ids: Vec<SweepId> = self.sweeps.keys().cloned().collect();
        let mut stumbled = Ok(());
        for id in ids {
            if let Err(error) = self.reconcile_sweep(&id).await {
                tracing::warn!(sweep = %id, error = %format!("{error:#}"), "this sweep does not \
                    go on now");
                stumbled = Err(error);
            }
        }
        self.process
            .metrics()
            .set(&SWEEPS_ACTIVE, self.sweeps.len() as f64);
        if stumbled.is_ok() {
            self.doubtful.clear();
        }
        stumbled
    }

    async fn reconcile_sweep(&mut self, id: &SweepId) -> anyhow::Result<()> {
        let sweep = self.sweeps[id].clone();
        let mut plan = self.submit_ready(&sweep).await?;
        self.process.health().tick();
        if plan.complete() && self.has_lost_any_of(&plan).await? {
            plan = self.submit_ready(&sweep).await?;
        }
        if plan.settled()
            && report::make(
                &self.process,
                &self.submitter,
                &sweep,
                &mut self.known,
                &plan,
            )
            .await?
        {
            self.process.metrics().add(&REPORTS, 1);
        }
        if plan.complete() && sweeps::has_ended(self.connection().store().as_ref(), id).await? {
            sweeps::forget(self.connection(), id).await?;
            self.sweeps.remove(id);
        }
        Ok(())
    }

    /// One last look before a sweep ends: a result that is not there any more is forgotten, so that
    /// it is made again, even if nothing is left that would read it. Whether there was one.
    async fn has_lost_any_of(&mut self, plan: &Plan) -> anyhow::Result<bool> {
        let jobs = plan
            .nodes
            .iter()
            .filter(|node| node.kind.is_queued())
            .filter_map(|node| node.job.as_ref());
        let keys: BTreeSet<JobKey> = jobs.map(|job| job.key.clone()).collect();
        let submitter = &self.submitter;
        let looked = futures::stream::iter(keys)
            .map(|key| async move {
                Ok::<_, RuntimeError>((submitter.manifest(&key).await?.is_none(), key))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<(bool, JobKey)>>();
        let looked = ticking(self.process.health(), looked).await?;
        let mut has_lost = false;
        for (_, key) in looked.into_iter().filter(|(is_lost, _)| *is_lost) {
            tracing::warn!(sweep = %plan.sweep, job = %key, "a result is gone before its sweep \
                has ended; it is made again");
            self.known.remove(&key);
            self.queued.remove(&key);
            has_lost = true;
        }
        Ok(has_lost)
    }

    /// Looks at what doubtful jobs of this plan read: a result that is gone is forgotten, so that
    /// it is made again, and one that was made again is read anew. Whether anything differs from
    /// what was known.
    async fn review(&mut self, plan: &Plan) -> anyhow::Result<bool> {
        let doubted = plan.nodes.iter().filter_map(|node| node.job.as_ref());
        let doubted: Vec<Job> = doubted
            .filter(|job| self.doubtful.contains(&job.key))
            .cloned()
            .collect();
        let mut differs = false;
        for input in doubted.iter().flat_map(|job| &job.inputs) {
            match self.submitter.manifest(&input.key).await? {
                Some(manifest) if manifest.digest == input.digest => {}
                Some(manifest) => {
                    self.known.record(manifest);
                    differs = true;
                }
                None => {
                    tracing::warn!(input = %input.key, role = input.role, "a result that was used \
                        is gone; it is made again");
                    self.known.remove(&input.key);
                    self.queued.remove(&input.key);
                    differs = true;
                }
            }
        }
        if differs {
            self.queued
                .retain(|key| !doubted.iter().any(|job| job.key == *key));
        }
        Ok(differs)
    }

    /// Submits what could run, and plans again as long as results turn up that are there already.
    async fn submit_ready(&mut self, sweep: &Sweep) -> anyhow::Result<Plan> {
        for key in std::iter::once(&sweep.images).chain(&sweep.test_images) {
            if self.known.manifest(key).is_none()
                && let Some(manifest) = self.submitter.manifest(key).await?
            {
                self.known.record(manifest);
            }
        }
        loop {
            let mut plan = plan(sweep, &self.known);
            if !self.doubtful.is_empty() && self.review(&plan).await? {
                plan = cedm_planner::plan(sweep, &self.known);
            }
            let jobs: Vec<Job> = plan
                .ready()
                .into_iter()
                .filter(|job| !self.queued.contains(&job.key))
                .cloned()
                .collect();
            if jobs.is_empty() {
                return Ok(plan);
            }
            let (submitter, metrics) = (&self.submitter, self.process.metrics());
            let asked = futures::stream::iter(jobs)
                .map(|job| async move { ask(submitter, sweep, &job).await })
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<Asked>>();
            let asked = ticking(self.process.health(), asked).await?;
            let mut changed = false;
            for answer in asked {
                match answer {
                    Asked::Done(manifest) => {
                        if manifest.timings.finished_ms < sweep.submitted_ms {
                            metrics.add(&CACHE_HITS, 1);
                        }
                        metrics.set(&LAST_PROGRESS, now_ms() as f64 / 1000.0);
                        self.known.record(*manifest);
                        changed = true;
                    }
                    Asked::Queued(key) => {
                        metrics.add(&SUBMITTED, 1);
                        self.queued.insert(key);
                    }
                    Asked::Dead { job, error } => {
                        tracing::warn!(sweep = %sweep.id, job = %job.key, kind = %job.kind(), error, "job is dead; its cell fails, the rest goes on");
                        self.known.record_dead(job.key.clone(), error);
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

/// Looks for the result of a job, and submits it when there is none. Results from before the sweep
/// are verified to the byte; those made for it a moment ago by their sizes.
async fn ask(submitter: &Submitter, sweep: &Sweep, job: &Job) -> Result<Asked, RuntimeError> {
    if let Ok(Some(manifest)) = submitter.manifest(&job.key).await
        && manifest.timings.finished_ms >= sweep.submitted_ms
    {
        return Ok(Asked::Done(Box::new(manifest)));
    }
    let dead = |error: String| Asked::Dead {
        job: Box::new(job.clone()),
        error,
    };
    let submitted = match submitter.submit(job).await {
        // A job too large for a message, a result of a newer program: this job's own trouble.
        Err(RuntimeError::Contract(error)) => return Ok(dead(error.to_string())),
        submitted => submitted?,
    };
    match submitted {
        SubmitOutcome::Cached(manifest) => {
            submitter.announce_done(&manifest, true).await?;
            Ok(Asked::Done(manifest))
        }
        SubmitOutcome::Queued => {
            tracing::info!(sweep = %sweep.id, job = %job.key, kind = %job.kind(), label = %job.hints.label, "submitted");
            Ok(Asked::Queued(job.key.clone()))
        }
        SubmitOutcome::AlreadyQueued => Ok(Asked::Queued(job.key.clone())),
        SubmitOutcome::Dead(letter) => Ok(dead(letter.error)),
    }
}

/// Signs of life while a long wait goes on: verifying a large stored result to the byte takes its
/// time.
async fn ticking<T>(health: &Health, wait: impl Future<Output = T>) -> T {
    tokio::pin!(wait);
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            value = &mut wait => return value,
            _ = tick.tick() => health.tick(),
        }
    }
}

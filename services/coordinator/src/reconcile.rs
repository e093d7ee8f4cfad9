//! The reconciler: desired jobs, minus results, minus queued jobs, is what it submits.
//!
//! [`Coordinator`] holds a cache of the observed state and compares it with the plan of every
//! active sweep, level-triggered as in a Kubernetes controller: events say only *that* something
//! changed ([`Coordinator::on_event`]) and keep the cache cheap to update; what to do follows from
//! the state alone ([`Coordinator::reconcile`]). A lost event delays a job until the next
//! [`Coordinator::resync`], a duplicate costs one extra plan. Every step is idempotent, so it may
//! run at any time, and in two processes at once.

mod recheck;
mod submit;
mod withdraw;

use crate::{
    metrics::{RECONCILES, REPORTS, SWEEPS_ACTIVE, SWEEPS_PAUSED, SWEEPS_UNREADABLE},
    report::{self, ReportOutcome},
    sweeps::{self, Loaded, SpecStamp},
};
use cedm_contract::{Event, EventWhat, JobKey, SweepId};
use cedm_planner::Observed;
use cedm_runtime::{Connection, DeadLetters, Health, ServiceProcess, Submitter};
use cedm_sweep::Sweep;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// Requests to queue and store that run concurrently.
const CONCURRENCY: usize = 16;

/// The reconciler with its cache. All of it can be lost: [`Coordinator::resync`] reads it again
/// from store and queue.
pub(crate) struct Coordinator {
    process: ServiceProcess,
    submitter: Submitter,
    letters: DeadLetters,
    /// The active sweeps as last read, by id.
    sweeps: BTreeMap<SweepId, Sweep>,
    /// Which object each was read from.
    stamps: BTreeMap<SweepId, SpecStamp>,
    /// Those of them that are paused: no job of theirs is submitted.
    paused: BTreeSet<SweepId>,
    /// Active sweeps that cannot be read, with the reason. They stop no other sweep.
    unreadable: BTreeMap<SweepId, String>,
    /// Results and dead jobs.
    known: Observed,
    /// Jobs that were in the queue when it was last read, and have not ended since.
    queued: BTreeSet<JobKey>,
    /// Jobs that were queued anew in place of a letter whose job could not be read: once each,
    /// since a job that no worker can read comes back as another such letter.
    renewed: BTreeSet<JobKey>,
    /// Jobs with a failed attempt. Their inputs are checked again, since a missing input is one
    /// reason to fail.
    suspect: BTreeSet<JobKey>,
}

impl Coordinator {
    pub(crate) fn new(process: &ServiceProcess) -> Self {
        let connection = process.connection();
        Self {
            process: process.clone(),
            submitter: Submitter::new(connection),
            letters: DeadLetters::new(connection),
            sweeps: BTreeMap::new(),
            stamps: BTreeMap::new(),
            paused: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            known: Observed::default(),
            queued: BTreeSet::new(),
            renewed: BTreeSet::new(),
            suspect: BTreeSet::new(),
        }
    }

    fn connection(&self) -> &Connection {
        self.process.connection()
    }

    /// Updates the cache by an event. Returns whether a plan may have changed, so that
    /// [`Self::reconcile`] is due.
    pub(crate) fn on_event(&mut self, event: &Event) -> bool {
        match event.what {
            EventWhat::Done | EventWhat::Superseded | EventWhat::Dead => {
                self.queued.remove(&event.key);
                true
            }
            // A failure without an attempt says that a stored result was discarded.
            EventWhat::Failed if event.attempt.is_none() => {
                self.known.remove(&event.key);
                self.queued.remove(&event.key);
                true
            }
            // A dead letter was replayed.
            EventWhat::Started if self.known.is_dead(&event.key) => {
                self.known.clear_dead(&event.key);
                self.queued.insert(event.key.clone());
                true
            }
            EventWhat::Failed => {
                self.suspect.insert(event.key.clone());
                true
            }
            EventWhat::Started | EventWhat::Progress => false,
        }
    }

    /// Replaces the cache by what store and queue hold now (active sweeps, queued jobs, dead
    /// letters), then reconciles.
    pub(crate) async fn resync(&mut self) -> anyhow::Result<()> {
        let store = self.connection().store().clone();
        let active = sweeps::list_active(store.as_ref()).await?;
        sweeps::restore_entries(self.connection(), active.keys()).await?;
        let (kept, ended): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.sweeps)
            .into_iter()
            .partition(|(id, _)| active.contains_key(id));
        self.sweeps = kept;
        self.unreadable.retain(|id, _| active.contains_key(id));
        for sweep in ended.into_values() {
            self.withdraw(&sweep, &BTreeSet::new()).await?;
        }
        for (id, listed) in &active {
            self.load_sweep(id, listed.spec).await?;
            self.note_pause(id, listed.marks);
        }
        self.paused.retain(|id| active.contains_key(id));
        self.stamps.retain(|id, _| active.contains_key(id));
        self.settle_notices().await;
        let outstanding = self.submitter.outstanding(None).await?;
        self.queued = outstanding.into_iter().map(|job| job.key).collect();
        self.withdraw_paused().await?;
        let letters = self.letters.list().await?;
        self.known.replace_dead(
            letters
                .into_iter()
                .filter(|letter| letter.job.is_some() || self.renewed.contains(&letter.key))
                .map(|letter| (letter.key, letter.error))
                .collect::<HashMap<_, _>>(),
        );
        self.reconcile().await
    }

    /// Follows a change in the bucket of sweeps: adopts a new sweep, pauses or resumes one, or
    /// withdraws one that has ended.
    pub(crate) async fn refresh(&mut self, id: &SweepId) -> anyhow::Result<()> {
        let listed = sweeps::listed(self.connection().store().as_ref(), id).await?;
        let marks = listed.marks;
        // Ended, or removed.
        if !marks.is_active() {
            self.unreadable.remove(id);
            self.paused.remove(id);
            if let Some(sweep) = self.sweeps.remove(id) {
                self.withdraw(&sweep, &BTreeSet::new()).await?;
            }
            return Ok(());
        }
        self.load_sweep(id, listed.spec).await?;
        if self.note_pause(id, marks) {
            self.withdraw_paused().await?;
        }
        Ok(())
    }

    /// Loads a sweep into the cache unless it is there as it is stored now: one that was removed
    /// may have been submitted anew under the same name.
    async fn load_sweep(&mut self, id: &SweepId, stored: SpecStamp) -> anyhow::Result<()> {
        if self.sweeps.contains_key(id) && self.stamps.get(id) == Some(&stored) {
            return Ok(());
        }
        self.stamps.insert(id.clone(), stored);
        match sweeps::load(self.connection().store().as_ref(), id).await? {
            Loaded::Sweep(sweep) => {
                tracing::info!(sweep = %id, clusterings = sweep.spec.clusterings.len(), "sweep loaded");
                self.unreadable.remove(id);
                self.sweeps.insert(id.clone(), *sweep);
            }
            Loaded::Nothing => {
                self.sweeps.remove(id);
                self.unreadable.remove(id);
            }
            Loaded::Unreadable(reason) => {
                self.sweeps.remove(id);
                let before = self.unreadable.insert(id.clone(), reason.clone());
                if before.as_ref() != Some(&reason) {
                    tracing::error!(sweep = %id, reason, "sweep cannot be read; `cedm cancel` ends it");
                }
            }
        }
        Ok(())
    }

    /// Brings every active sweep as far as possible without waiting. A failure in one sweep does
    /// not stop the others; the last failure is returned at the end.
    pub(crate) async fn reconcile(&mut self) -> anyhow::Result<()> {
        self.process.metrics().add(&RECONCILES, 1);
        if !self.suspect.is_empty() {
            self.settle_notices().await;
        }
        let ids = self.sweeps.keys().filter(|id| !self.paused.contains(*id));
        let ids: Vec<SweepId> = ids.cloned().collect();
        let running = ids.len();
        let mut result = Ok(());
        for id in ids {
            if let Err(error) = self.reconcile_sweep(&id).await {
                tracing::warn!(sweep = %id, error = %format!("{error:#}"), "sweep cannot be reconciled now");
                result = Err(error);
            }
        }
        let metrics = self.process.metrics();
        metrics.set(&SWEEPS_ACTIVE, running as f64);
        metrics.set(&SWEEPS_PAUSED, self.paused.len() as f64);
        metrics.set(&SWEEPS_UNREADABLE, self.unreadable.len() as f64);
        if result.is_ok() {
            self.suspect.clear();
        }
        result
    }

    /// Submits what is ready, writes the report once nothing is left to run, and drops the sweep
    /// when it is done.
    async fn reconcile_sweep(&mut self, id: &SweepId) -> anyhow::Result<()> {
        let sweep = self.sweeps[id].clone();
        let mut plan = self.submit_ready(&sweep).await?;
        self.process.health().tick();
        // Before the last look at the results, so that a mark written after it cannot end a sweep
        // that was reopened meanwhile.
        let mut reopenings = 0;
        if plan.complete() {
            let store = self.connection().store();
            reopenings = sweeps::marks(store.as_ref(), id).await?.reopenings;
            if self.forget_lost_results(&plan).await? {
                plan = self.submit_ready(&sweep).await?;
            }
        }
        if plan.settled() {
            let written = report::write(
                &self.process,
                &self.submitter,
                &sweep,
                &mut self.known,
                &plan,
                reopenings,
            );
            match while_alive(self.process.health(), written).await? {
                ReportOutcome::Written => self.process.metrics().add(&REPORTS, 1),
                ReportOutcome::Unchanged => {}
                ReportOutcome::Broken(objects) => {
                    self.discard_results_of(&plan, &sweep, &objects).await?;
                    self.submit_ready(&sweep).await?;
                    return Ok(());
                }
            }
        }
        if plan.complete() && sweeps::has_ended(self.connection().store().as_ref(), id).await? {
            sweeps::remove_entry(self.connection(), id).await?;
            self.sweeps.remove(id);
        }
        Ok(())
    }
}

/// Waits for `operation` while reporting liveness: verifying a large stored result takes longer
/// than the liveness probe allows.
async fn while_alive<T>(health: &Health, operation: impl Future<Output = T>) -> T {
    tokio::pin!(operation);
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            value = &mut operation => return value,
            _ = tick.tick() => health.tick(),
        }
    }
}

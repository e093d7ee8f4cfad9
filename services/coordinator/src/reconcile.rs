//! The reconciler: desired jobs, minus results, minus queued jobs, is what it submits.
//!
//! [`Coordinator`] holds a cache of the observed state and the graph of every active sweep,
//! level-triggered as in a Kubernetes controller: events say only *that* something changed
//! ([`Coordinator::on_event`]) and update of each graph what they touch; what to do follows from the
//! state alone ([`Coordinator::reconcile`]). A lost event delays a job until the next
//! [`Coordinator::resync`], a duplicate costs next to nothing. Every step is idempotent, so it may run
//! at any time, and in two processes at once.

mod active;
mod recheck;
mod submit;

use crate::{
    metrics::{RECONCILES, REPORTS, SWEEPS_ACTIVE, SWEEPS_UNREADABLE},
    report::{self, Ended, Stored},
    sweeps::{self, Loaded},
};
use active::{Active, Queued};
use cedm_contract::{Event, EventWhat, JobKey, Priority, SweepId};
use cedm_planner::Observed;
use cedm_runtime::{Connection, DeadLetters, Health, LetterBook, ServiceProcess, Submitter};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

/// Requests to queue and store that run concurrently.
const CONCURRENCY: usize = 16;

/// The reconciler with its cache. All of it can be lost: [`Coordinator::resync`] reads it again from
/// store and queue.
pub(crate) struct Coordinator {
    process: ServiceProcess,
    submitter: Submitter,
    letters: DeadLetters,
    /// The dead letters as last read.
    letter_book: LetterBook,
    /// The active sweeps as last read, by id.
    sweeps: BTreeMap<SweepId, Active>,
    /// Active sweeps that cannot be read, with the reason. They stop no other sweep.
    unreadable: BTreeMap<SweepId, String>,
    /// Results and dead jobs. Of most results the digest alone: a report reads the manifests again.
    known: Observed,
    /// Jobs that were in the queue when it was last read, and have not ended since.
    queued: Queued,
    /// Jobs that were queued anew in place of a letter whose job could not be read: once each, since a
    /// job that no worker can read comes back as another such letter.
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
            letter_book: LetterBook::default(),
            sweeps: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            known: Observed::for_planning(),
            queued: Queued::new(),
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
        let key = &event.key;
        match event.what {
            EventWhat::Done | EventWhat::Superseded | EventWhat::Dead => {
                if self.known.is_dead(key) {
                    // Its worker may have finished after all, and the letter goes.
                    self.letter_book.doubt(key);
                }
                self.queued.remove(key);
                // What became of it is read where it is looked up, if nobody has read it yet.
                for active in self.sweeps.values_mut() {
                    active.reconsider(key, &self.queued);
                }
                true
            }
            // A failure without an attempt says that a stored result was discarded.
            EventWhat::Failed if event.attempt.is_none() => {
                self.forget(key);
                true
            }
            // A dead letter was replayed.
            EventWhat::Started if self.known.is_dead(key) => {
                self.known.clear_dead(key);
                self.queued.insert(key.clone(), Priority::P0);
                self.changed(key);
                true
            }
            EventWhat::Failed => {
                self.suspect.insert(key.clone());
                true
            }
            EventWhat::Started | EventWhat::Progress => false,
        }
    }

    /// Tells every graph that what is known of a job has changed.
    fn changed(&mut self, key: &JobKey) {
        for active in self.sweeps.values_mut() {
            active.follow(key, &self.known, &self.queued);
        }
    }

    /// Forgets a result that is gone, so that its job is queued again.
    fn forget(&mut self, key: &JobKey) {
        self.known.remove(key);
        self.queued.remove(key);
        self.changed(key);
    }

    /// Replaces the cache by what store and queue hold now (active sweeps, queued jobs, dead
    /// letters), then reconciles.
    pub(crate) async fn resync(&mut self) -> anyhow::Result<()> {
        let store = self.connection().store().clone();
        let active = sweeps::list_active(store.as_ref()).await?;
        sweeps::restore_entries(self.connection(), &active).await?;
        let (kept, ended): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.sweeps)
            .into_iter()
            .partition(|(id, _)| active.contains(id));
        self.sweeps = kept;
        self.unreadable.retain(|id, _| active.contains(id));
        for sweep in ended.into_values() {
            self.withdraw(&sweep).await?;
        }
        for id in active {
            self.adopt(&id).await?;
        }
        self.settle_notices().await;
        self.read_letters().await?;
        let outstanding = self.submitter.outstanding(None).await?;
        self.queued = outstanding
            .into_iter()
            .map(|job| (job.key, job.priority))
            .collect();
        for active in self.sweeps.values_mut() {
            active.compare(&self.queued);
        }
        self.reconcile().await
    }

    /// Reads the dead letters that are new, and drops those that are gone.
    async fn read_letters(&mut self) -> anyhow::Result<()> {
        self.letters.refresh(&mut self.letter_book).await?;
        let letters = self.letter_book.letters();
        let dead: HashMap<JobKey, String> = letters
            .filter(|letter| letter.has_job || self.renewed.contains(&letter.key))
            .map(|letter| (letter.key.clone(), letter.error.clone()))
            .collect();
        for key in self.known.replace_dead(dead) {
            self.changed(&key);
        }
        Ok(())
    }

    /// Follows a change in the bucket of sweeps: adopts a new sweep, or withdraws one that has
    /// ended.
    pub(crate) async fn refresh(&mut self, id: &SweepId) -> anyhow::Result<()> {
        if sweeps::has_ended(self.connection().store().as_ref(), id).await? {
            self.unreadable.remove(id);
            if let Some(sweep) = self.sweeps.remove(id) {
                self.withdraw(&sweep).await?;
            }
            return Ok(());
        }
        self.adopt(id).await
    }

    /// Loads a sweep into the cache unless it is there.
    async fn adopt(&mut self, id: &SweepId) -> anyhow::Result<()> {
        if self.sweeps.contains_key(id) {
            return Ok(());
        }
        match sweeps::load(self.connection().store().as_ref(), id).await? {
            Loaded::Sweep(sweep) => {
                self.learn_imports(&sweep).await?;
                tracing::info!(sweep = %id, clusterings = sweep.spec.clusterings.len(), "sweep adopted");
                self.unreadable.remove(id);
                let active = Active::new(*sweep, &self.known, &self.queued);
                self.sweeps.insert(id.clone(), active);
            }
            Loaded::Nothing => {
                self.unreadable.remove(id);
            }
            Loaded::Unreadable(reason) => {
                let before = self.unreadable.insert(id.clone(), reason.clone());
                if before.as_ref() != Some(&reason) {
                    tracing::error!(sweep = %id, reason, "sweep cannot be read; `cedm cancel` ends it");
                }
            }
        }
        Ok(())
    }

    /// Removes the queued jobs of an ended sweep, except those that another active sweep needs.
    /// `cedm cancel` does the same; this finds jobs that were submitted at that very moment.
    async fn withdraw(&mut self, ended: &Active) -> anyhow::Result<()> {
        let needed = |key: &JobKey| self.sweeps.values().any(|other| other.graph.contains(key));
        let withdrawn: Vec<JobKey> = ended
            .graph
            .ready_keys()
            .filter(|key| self.queued.contains_key(*key) && !needed(key))
            .cloned()
            .collect();
        for key in withdrawn {
            if let Some(kind) = ended.graph.kind(&key) {
                self.submitter.cancel(kind, &key).await?;
                self.queued.remove(&key);
            }
        }
        Ok(())
    }

    /// Brings every active sweep that something happened to as far as possible without waiting. A
    /// failure in one sweep does not stop the others; the last failure is returned at the end.
    pub(crate) async fn reconcile(&mut self) -> anyhow::Result<()> {
        self.process.metrics().add(&RECONCILES, 1);
        if !self.suspect.is_empty() {
            self.settle_notices().await;
        }
        let suspects = &self.suspect;
        let is_due = |active: &Active| {
            active.is_due || suspects.iter().any(|key| active.graph.contains(key))
        };
        let due = self.sweeps.iter().filter(|(_, active)| is_due(active));
        let ids: Vec<SweepId> = due.map(|(id, _)| id.clone()).collect();
        let mut result = Ok(());
        for id in ids {
            if let Err(error) = self.reconcile_sweep(&id).await {
                tracing::warn!(sweep = %id, error = %format!("{error:#}"), "sweep cannot be reconciled now");
                result = Err(error);
            }
        }
        let metrics = self.process.metrics();
        metrics.set(&SWEEPS_ACTIVE, self.sweeps.len() as f64);
        metrics.set(&SWEEPS_UNREADABLE, self.unreadable.len() as f64);
        if result.is_ok() {
            self.suspect.clear();
        }
        result
    }

    /// Submits what is ready, writes the report once nothing is left to run, and drops the sweep
    /// when it is done.
    async fn reconcile_sweep(&mut self, id: &SweepId) -> anyhow::Result<()> {
        self.submit_ready(id).await?;
        self.process.health().tick();
        let Some(active) = self.sweeps.get(id) else {
            return Ok(());
        };
        let mut results = None;
        if active.graph.complete() {
            // The last look before a sweep ends, even where no remaining job would read a result.
            results = self.read_results(id).await?;
            if results.is_none() {
                self.submit_ready(id).await?;
            }
        }
        let Some(active) = self.sweeps.get_mut(id) else {
            return Ok(());
        };
        // What comes in from here on makes it due again.
        active.is_due = false;
        let ended = self.end(id, results).await;
        if ended.is_err()
            && let Some(active) = self.sweeps.get_mut(id)
        {
            active.is_due = true;
        }
        ended
    }

    /// Writes the report of a settled sweep, and drops a sweep that is done. `results` are its manifests,
    /// where they were read already.
    async fn end(&mut self, id: &SweepId, results: Option<Arc<Observed>>) -> anyhow::Result<()> {
        let Some(active) = self.sweeps.get(id) else {
            return Ok(());
        };
        let (sweep, complete) = (active.sweep.clone(), active.graph.complete());
        if let Some(job) = active.graph.report_job(&self.known) {
            let (process, submitter) = (self.process.clone(), self.submitter.clone());
            let stored = report::stored(&process, &submitter, &sweep, &job, complete);
            let stored = while_alive(process.health(), stored).await?;
            if let Stored::Open(stored) = stored {
                let results = match results {
                    Some(results) => Some(results),
                    None => self.read_results(id).await?,
                };
                let Some(results) = results else {
                    return self.submit_ready(id).await;
                };
                let written = report::write(
                    (&process, &submitter),
                    (&sweep, &job, complete),
                    stored.map(|manifest| *manifest),
                    results.clone(),
                );
                match while_alive(process.health(), written).await? {
                    Ended::Written => process.metrics().add(&REPORTS, 1),
                    Ended::Unchanged => {}
                    Ended::Broken(objects) => {
                        self.discard_results_of(&sweep, &results, &objects).await?;
                        return self.submit_ready(id).await;
                    }
                }
            }
        }
        if complete && sweeps::has_ended(self.connection().store().as_ref(), id).await? {
            sweeps::remove_entry(self.connection(), id).await?;
            self.sweeps.remove(id);
        }
        Ok(())
    }
}

/// Waits for `operation` while reporting liveness: verifying a large stored result takes longer than
/// the liveness probe allows.
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

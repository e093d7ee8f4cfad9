//! Pauses, resumes and removes sweeps.

use super::{Entry, Reader};
use anyhow::{Context, Result, bail};
use cedm_contract::{SweepId, sweep_key};
use cedm_runtime::{Bucket, SWEEPS, workers};
use cedm_sweep::lifecycle::{PAUSED, SPEC};

impl Reader {
    /// Pauses a sweep: marks it and withdraws its queued jobs, except those that a running sweep
    /// needs. Returns whether this changed anything: one that has ended or is paused stays so.
    ///
    /// # Errors
    /// When it is unknown, or the store or NATS fails.
    pub async fn pause(&mut self, id: &SweepId) -> Result<bool> {
        let marks = self.marks_of_known(id).await?;
        if !marks.starts_jobs() {
            return Ok(false);
        }
        self.mark(id, PAUSED).await?;
        self.wake_coordinators(id).await?;
        // What runs goes on, and keeps its message: a crash would else lose the work.
        let workers = workers(&self.connection).await?;
        let running = workers
            .into_iter()
            .filter_map(|worker| worker.job)
            .collect();
        self.withdraw(id, &running).await.with_context(|| {
            format!(
                "sweep {id} is paused; its queued jobs cannot be withdrawn now, the coordinator \
                 does so"
            )
        })?;
        Ok(true)
    }

    /// Lets a paused sweep go on. Returns whether it was paused.
    ///
    /// # Errors
    /// When it is unknown, or the store or NATS fails.
    pub async fn resume(&mut self, id: &SweepId) -> Result<bool> {
        let marks = self.marks_of_known(id).await?;
        if !marks.paused || !marks.is_active() {
            return Ok(false);
        }
        self.store().delete(&sweep_key(id, PAUSED)).await?;
        self.wake_coordinators(id).await?;
        Ok(true)
    }

    /// Removes a sweep that has ended: whatever is stored under its name, but no result. Returns
    /// the number of objects.
    ///
    /// # Errors
    /// When it is unknown or has not ended, or the store or NATS fails; remove it again then.
    pub async fn remove(&mut self, id: &SweepId) -> Result<usize> {
        let listed = self.store().list(&sweep_key(id, "")).await?;
        if self.marks(id).await?.spec {
            let entry = self.entry(id).await?;
            let phase = entry.phase();
            if !phase.can_be_removed() {
                let why = match &entry {
                    Entry::Readable(_) => format!("it is {phase}"),
                    Entry::Unreadable(_) => {
                        "it cannot be read, and may be another program's".to_owned()
                    }
                };
                bail!("sweep {id} cannot be removed: {why}. `cedm cancel {id}` ends it first");
            }
        } else if listed.is_empty() {
            self.marks_of_known(id).await?; // says which sweeps there are
        }
        // The spec first: without it the rest is no sweep, and without an end mark it would run.
        let spec = sweep_key(id, SPEC);
        let (first, rest): (Vec<_>, Vec<_>) = listed.iter().partition(|object| object.key == spec);
        for object in first.into_iter().chain(rest) {
            self.store().delete(&object.key).await?;
        }
        let bucket = Bucket::open(&self.connection, SWEEPS).await?;
        bucket.remove(id.as_str()).await?;
        Ok(listed.len())
    }
}

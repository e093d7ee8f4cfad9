//! Submits, cancels and reopens sweeps: the writes that a person makes.

use super::Reader;
use anyhow::{Context, Result, ensure};
use cedm_contract::{JobKey, SweepId, sweep_key};
use cedm_planner::State;
use cedm_runtime::{Bucket, SWEEPS, Submitter, Written, create_only, now_ms};
use cedm_sweep::{
    Sweep,
    lifecycle::{CANCELLED, Marks, PAUSED, Phase, SPEC, done_name, reopened_name},
};
use std::collections::BTreeSet;

/// What a submission did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It wrote the sweep.
    New,
    /// The sweep existed already, with the same spec, in this phase; nothing was changed.
    Attached(Phase),
    /// The same, and it had ended in this phase without all of its results: it runs again.
    Reopened(Phase),
}

impl Reader {
    /// Writes the sweep create-only and wakes the coordinator. A sweep that exists with the same
    /// spec and has ended without all of its results is reopened.
    ///
    /// # Errors
    /// When another spec has its name or the stored one cannot be read, or the store or NATS fails.
    pub async fn submit(&mut self, sweep: &Sweep) -> Result<Submitted> {
        let id = &sweep.id;
        let marks = self.marks(id).await?;
        if !marks.spec {
            // Left over from a sweep whose spec somebody deleted: the new one would be born ended.
            self.remove_end_marks(id, marks).await?;
        }
        let key = sweep_key(id, SPEC);
        let written = create_only(self.store().as_ref(), &key, sweep.encode().into()).await?;
        if let Written::Exists { bytes, answer_lost } = written {
            let stored = Sweep::read(id, &bytes).with_context(|| {
                format!(
                    "the name `{id}` is taken by a sweep that cannot be read (object `{key}`): \
                     choose another name with --name"
                )
            })?;
            ensure_same(&stored, sweep)?;
            // The stored sweep may be our own only when an earlier answer was lost; without
            // that, somebody else submitted the same spec in the same millisecond.
            if !(answer_lost && stored.submitted_ms == sweep.submitted_ms) {
                return self.attach(id).await;
            }
        }
        self.wake_coordinators(id).await?;
        Ok(Submitted::New)
    }

    async fn attach(&mut self, id: &SweepId) -> Result<Submitted> {
        let phase = self.entry(id).await?.phase();
        if phase.reopens() {
            self.reopen(id).await?;
            return Ok(Submitted::Reopened(phase));
        }
        if phase != Phase::Complete {
            self.wake_coordinators(id).await?;
        }
        Ok(Submitted::Attached(phase))
    }

    /// Makes a sweep's end marks void, so that the coordinator looks after it again: results that
    /// are lost are made again, the others are reused. Idempotent, and harmless for a sweep that
    /// another command has reopened or the coordinator has completed meanwhile.
    ///
    /// # Errors
    /// When the store or NATS fails; reopen it again.
    pub async fn reopen(&self, id: &SweepId) -> Result<()> {
        self.remove_end_marks(id, self.marks(id).await?).await?;
        self.wake_coordinators(id).await
    }

    async fn remove_end_marks(&self, id: &SweepId, marks: Marks) -> Result<()> {
        let is_leftover = marks.paused && !marks.spec;
        if !marks.has_ended() && !is_leftover {
            return Ok(());
        }
        // First of all: a coordinator may be about to write the mark that is removed here.
        self.mark(id, &reopened_name(marks.reopenings + 1)).await?;
        let done = done_name(marks.reopenings);
        for (exists, name) in [
            (marks.done, done.as_str()),
            (marks.cancelled, CANCELLED),
            // Whoever asks for an ended sweep again wants it to run.
            (marks.paused, PAUSED),
        ] {
            if exists {
                self.store().delete(&sweep_key(id, name)).await?;
            }
        }
        Ok(())
    }

    /// Sets a mark of a sweep, unless it is set.
    pub(super) async fn mark(&self, id: &SweepId, name: &str) -> Result<()> {
        let at = serde_json::json!({"at_ms": now_ms()}).to_string();
        create_only(self.store().as_ref(), &sweep_key(id, name), at.into()).await?;
        Ok(())
    }

    /// The bucket only wakes coordinators early; they also list the store.
    pub(super) async fn wake_coordinators(&self, id: &SweepId) -> Result<()> {
        Bucket::open(&self.connection, SWEEPS)
            .await?
            .put(id.as_str(), now_ms().to_string())
            .await?;
        Ok(())
    }

    /// Cancels a sweep: marks it and withdraws its queued jobs, except those that another active
    /// sweep needs. A sweep that cannot be read is only marked. Returns whether this changed
    /// anything: a complete or cancelled sweep stays what it is.
    ///
    /// # Errors
    /// When it is unknown, or the store or NATS fails.
    pub async fn cancel(&mut self, id: &SweepId) -> Result<bool> {
        let marks = self.marks_of_known(id).await?;
        // Without an end mark it can be cancelled, whatever else is the matter with it.
        if marks.has_ended() && !self.entry(id).await?.phase().can_be_cancelled() {
            return Ok(false);
        }
        self.mark(id, CANCELLED).await?;
        Bucket::open(&self.connection, SWEEPS)
            .await?
            .remove(id.as_str())
            .await?;
        self.withdraw(id, &BTreeSet::new()).await.with_context(|| {
            format!(
                "sweep {id} is cancelled; its queued jobs cannot be withdrawn now, the coordinator \
                 does so"
            )
        })?;
        Ok(true)
    }

    /// Removes the queued jobs of a sweep that no running sweep needs, but for those in `spared`.
    pub(super) async fn withdraw(&mut self, id: &SweepId, spared: &BTreeSet<JobKey>) -> Result<()> {
        let entry = self.entry(id).await?;
        let Some(view) = entry.view() else {
            return Ok(());
        };
        let mut needed_elsewhere = BTreeSet::new();
        for other in self.entries().await? {
            let other = other.view().filter(|other| other.sweep.id != *id);
            if let Some(other) = other.filter(|other| other.marks.starts_jobs()) {
                needed_elsewhere.extend(other.keys().cloned());
            }
        }
        let submitter = Submitter::new(&self.connection);
        for node in &view.jobs {
            if let (State::Ready, Some(job)) = (&node.state, &node.job)
                && !needed_elsewhere.contains(&job.key)
                && !spared.contains(&job.key)
            {
                submitter.cancel(node.kind, &job.key).await?;
            }
        }
        Ok(())
    }
}

/// Fails when the stored sweep of this name is another one.
fn ensure_same(stored: &Sweep, ours: &Sweep) -> Result<()> {
    let id = &ours.id;
    ensure!(
        stored.images == ours.images && stored.test_images == ours.test_images,
        "sweep `{id}` was submitted with another image set: the name `{}` has been moved since. \
         Choose another name with --name",
        ours.spec.image_set
    );
    if stored.spec != ours.spec {
        let differ = differences(stored, ours);
        anyhow::bail!(
            "sweep `{id}` already exists with another spec ({differ}): choose another name with --name; \
             results that both have in common are reused"
        );
    }
    Ok(())
}

/// Names of the sections in which two specs differ.
fn differences(stored: &Sweep, ours: &Sweep) -> String {
    let sections = |sweep: &Sweep| match serde_json::to_value(&sweep.spec) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (a, b) = (sections(stored), sections(ours));
    let differ: Vec<&str> = a
        .iter()
        .filter(|(name, value)| b.get(*name) != Some(value))
        .map(|(name, _)| name.as_str())
        .collect();
    format!("it differs in {}", differ.join(", "))
}

//! Submits and cancels sweeps: the two writes that a person makes.

use super::Reader;
use crate::render;
use anyhow::{Context, Result, ensure};
use cedm_contract::{SweepId, sweep_key};
use cedm_planner::State;
use cedm_runtime::{Bucket, SWEEPS, Submitter, Written, create_only, store::Body};
use cedm_sweep::{Sweep, outcome::SweepState};
use std::collections::BTreeSet;

/// Whether a submission wrote a new sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It wrote the sweep.
    New,
    /// The sweep existed already, with the same spec.
    Attached,
}

impl Reader {
    /// Writes the sweep create-only and wakes the coordinator.
    ///
    /// # Errors
    /// When another spec has its name, or the store or NATS fails.
    pub async fn submit(&mut self, sweep: &Sweep) -> Result<Submitted> {
        let key = sweep_key(&sweep.id, "spec");
        let written = create_only(self.store().as_ref(), &key, sweep.encode().into()).await?;
        let submitted = match written {
            Written::Ours => Submitted::New,
            Written::Exists { bytes, answer_lost } => {
                let stored =
                    Sweep::decode(&bytes).with_context(|| format!("sweep {}", sweep.id))?;
                ensure_same(&stored, sweep)?;
                // The stored sweep may be our own only when an earlier answer was lost; without
                // that, somebody else submitted the same spec in the same millisecond.
                if answer_lost && stored.submitted_ms == sweep.submitted_ms {
                    Submitted::New
                } else {
                    Submitted::Attached
                }
            }
        };
        // The bucket only wakes coordinators early; they also list the store.
        Bucket::open(&self.connection, SWEEPS)
            .await?
            .put(sweep.id.as_str(), sweep.submitted_ms.to_string())
            .await?;
        Ok(submitted)
    }

    /// Cancels a sweep: marks it and withdraws its queued jobs, except those that another running sweep
    /// needs. Returns whether it was running.
    ///
    /// # Errors
    /// When it is unknown, or the store or NATS fails.
    pub async fn cancel(&mut self, id: &SweepId) -> Result<bool> {
        let view = self.view(id).await?;
        if view.cancelled || view.outcome.state != SweepState::Running {
            return Ok(false);
        }
        let marker = serde_json::json!({"at_ms": render::now_ms()}).to_string();
        self.store()
            .put(&sweep_key(id, "cancelled"), Body::Bytes(marker.into()))
            .await?;
        Bucket::open(&self.connection, SWEEPS)
            .await?
            .remove(id.as_str())
            .await?;
        let mut needed_elsewhere = BTreeSet::new();
        for other in self.active().await? {
            needed_elsewhere.extend(self.view(&other).await?.by_key.into_keys());
        }
        let submitter = Submitter::new(&self.connection);
        for node in &view.jobs {
            if let (State::Ready, Some(job)) = (&node.state, &node.job)
                && !needed_elsewhere.contains(&job.key)
            {
                submitter.cancel(node.kind, &job.key).await?;
            }
        }
        Ok(true)
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

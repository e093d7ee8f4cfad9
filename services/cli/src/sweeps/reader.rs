//! Reads sweeps and their results, and plans them.

use super::View;
use anyhow::{Context, Result};
use cedm_contract::{JobKey, SweepId, sweep_key};
use cedm_planner::{Observed, ObservedState, Plan, State, fold, plan};
use cedm_runtime::{Connection, DeadLetters, Submitter, store::Store};
use cedm_sweep::{Sweep, outcome::SweepState};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Reads sweeps. Manifests are cached: they never change once written.
pub struct Reader {
    pub(super) connection: Connection,
    known: Observed,
    sweeps: BTreeMap<SweepId, Sweep>,
}

impl Reader {
    /// A reader with an empty cache.
    pub fn new(connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            known: Observed::default(),
            sweeps: BTreeMap::new(),
        }
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        self.connection.store()
    }

    /// Every sweep that was ever submitted, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all(&self) -> Result<Vec<SweepId>> {
        let listed = self.store().list("sweep/").await?;
        Ok(listed
            .iter()
            .filter_map(|object| {
                object
                    .key
                    .strip_prefix("sweep/")?
                    .strip_suffix("/spec")?
                    .parse()
                    .ok()
            })
            .collect())
    }

    /// Sweeps that are running: neither settled nor cancelled.
    ///
    /// # Errors
    /// When the store or NATS fails.
    pub async fn active(&mut self) -> Result<Vec<SweepId>> {
        let mut active = Vec::new();
        for id in self.all().await? {
            let view = self.view(&id).await?;
            if view.outcome.state == SweepState::Running && !view.cancelled {
                active.push(id);
            }
        }
        Ok(active)
    }

    /// Whether a sweep of this name exists.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn exists(&self, id: &SweepId) -> Result<bool> {
        Ok(self.sweeps.contains_key(id)
            || self.store().size(&sweep_key(id, "spec")).await?.is_some())
    }

    async fn sweep(&mut self, id: &SweepId) -> Result<Sweep> {
        if let Some(sweep) = self.sweeps.get(id) {
            return Ok(sweep.clone());
        }
        let bytes = self.store().get(&sweep_key(id, "spec")).await?;
        let Some(bytes) = bytes else {
            let names: Vec<String> = self.all().await?.iter().map(SweepId::to_string).collect();
            let hint = if names.is_empty() {
                "none has been submitted yet".to_owned()
            } else {
                format!("known are {}", names.join(", "))
            };
            anyhow::bail!("sweep `{id}` not found; {hint}");
        };
        let sweep = Sweep::decode(&bytes).with_context(|| format!("sweep {id}"))?;
        self.sweeps.insert(id.clone(), sweep.clone());
        Ok(sweep)
    }

    /// The present state of a sweep.
    ///
    /// # Errors
    /// When it is unknown, or the store or NATS fails.
    pub async fn view(&mut self, id: &SweepId) -> Result<View> {
        let sweep = self.sweep(id).await?;
        let plan = self.plan(&sweep).await?;
        let cancelled = self
            .store()
            .size(&sweep_key(id, "cancelled"))
            .await?
            .is_some();
        let outcome = fold(&sweep, &self.known);
        let by_key = plan
            .nodes
            .iter()
            .enumerate()
            .rev()
            .filter_map(|(index, node)| Some((node.job.as_ref()?.key.clone(), index)))
            .collect();
        Ok(View {
            outcome,
            jobs: plan.nodes,
            cancelled,
            by_key,
            sweep,
        })
    }

    /// The plan of a sweep, submitted or not, with every result that the store has. The plan is made
    /// repeatedly: results found in one round determine further jobs, whose results are looked up in
    /// the next.
    ///
    /// # Errors
    /// When the store or NATS fails.
    pub async fn plan(&mut self, sweep: &Sweep) -> Result<Plan> {
        let submitter = Submitter::new(&self.connection);
        for key in std::iter::once(&sweep.images).chain(&sweep.test_images) {
            if self.known.manifest(key).is_none()
                && let Some(manifest) = submitter.manifest(key).await?
            {
                self.known.record(manifest);
            }
        }
        let letters = DeadLetters::new(&self.connection).list().await?;
        let mut looked_up: BTreeSet<JobKey> = BTreeSet::new();
        loop {
            let plan = plan(sweep, &self.known);
            let open = plan
                .nodes
                .iter()
                .filter(|node| !matches!(node.state, State::Done { .. }));
            let open: Vec<JobKey> = open
                .filter_map(|node| Some(node.job.as_ref()?.key.clone()))
                .filter(|key| !looked_up.contains(key))
                .collect();
            let mut changed = false;
            let found =
                futures::future::try_join_all(open.iter().map(|key| submitter.manifest(key)))
                    .await?;
            for (key, manifest) in open.into_iter().zip(found) {
                match (manifest, letters.iter().find(|letter| letter.key == key)) {
                    (Some(manifest), _) => self.known.record(manifest),
                    (None, Some(letter)) => {
                        self.known.record_dead(key.clone(), letter.error.clone())
                    }
                    (None, None) => {
                        self.known.clear_dead(&key);
                        looked_up.insert(key);
                        continue;
                    }
                }
                looked_up.insert(key);
                changed = true;
            }
            if !changed {
                return Ok(plan);
            }
        }
    }
}

//! Reads sweeps and their results, and plans them.

use super::{Entry, Unreadable, View};
use anyhow::{Context, Result, bail};
use cedm_contract::{JobKey, SWEEP_PREFIX, SweepId, sweep_key};
use cedm_planner::{Observed, ObservedState, Plan, State, fold, plan};
use cedm_runtime::{
    Connection, DeadLetters, RuntimeError, Submitter, chain,
    store::{Store, StoreErrorKind},
};
use cedm_sweep::{
    Sweep,
    lifecycle::{Marks, Phase, SPEC},
};
use futures::StreamExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Results looked up at once: a plan of many shards has hundreds of thousands.
const LOOK_UPS: usize = 64;

/// Reads sweeps. Manifests are cached: they never change once written, but one may be discarded
/// ([`Reader::forget`]).
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

    /// Every sweep that was ever submitted, by name, with its marks.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all(&self) -> Result<BTreeMap<SweepId, Marks>> {
        let listed = self.store().list(SWEEP_PREFIX).await?;
        let mut marks = Marks::by_sweep(listed.iter().map(|object| object.key.as_str()));
        marks.retain(|_, marks| marks.spec);
        Ok(marks)
    }

    /// Every sweep with its present state; what cannot be read is among them, with the reason.
    ///
    /// # Errors
    /// When the store or NATS fails.
    pub async fn entries(&mut self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for (id, marks) in self.all().await? {
            entries.push(self.entry_of(&id, marks).await?);
        }
        Ok(entries)
    }

    /// The sweeps in one phase, by name.
    ///
    /// # Errors
    /// When the store or NATS fails.
    pub async fn in_phase(&mut self, phase: Phase) -> Result<Vec<SweepId>> {
        let entries = self.entries().await?;
        let found = entries.iter().filter(|entry| entry.phase() == phase);
        Ok(found.map(|entry| entry.id().clone()).collect())
    }

    /// Whether a sweep of this name exists.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn exists(&self, id: &SweepId) -> Result<bool> {
        Ok(self.marks(id).await?.spec)
    }

    /// Which of a sweep's objects exist.
    pub(super) async fn marks(&self, id: &SweepId) -> Result<Marks> {
        let listed = self.store().list(&sweep_key(id, "")).await?;
        let mut marks = Marks::by_sweep(listed.iter().map(|object| object.key.as_str()));
        Ok(marks.remove(id).unwrap_or_default())
    }

    /// The marks of a sweep that must exist.
    pub(super) async fn marks_of_known(&self, id: &SweepId) -> Result<Marks> {
        let marks = self.marks(id).await?;
        if marks.spec {
            return Ok(marks);
        }
        let names: Vec<String> = self.all().await?.keys().map(SweepId::to_string).collect();
        let hint = if names.is_empty() {
            "none has been submitted yet".to_owned()
        } else {
            format!("known are {}", names.join(", "))
        };
        bail!("sweep `{id}` not found; {hint}");
    }

    /// The sweep as submitted, or why it cannot be read. An outage is an error: it says nothing of
    /// the sweep.
    pub(super) async fn sweep(&mut self, id: &SweepId) -> Result<Result<Sweep, String>> {
        if let Some(sweep) = self.sweeps.get(id) {
            return Ok(Ok(sweep.clone()));
        }
        let key = sweep_key(id, SPEC);
        let bytes = match self.store().get(&key).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Err(format!("object `{key}` is missing"))),
            Err(error) if error.kind == StoreErrorKind::Damaged => return Ok(Err(chain(&error))),
            Err(error) => return Err(error).with_context(|| format!("read sweep {id}")),
        };
        match Sweep::read(id, &bytes) {
            Ok(sweep) => {
                self.sweeps.insert(id.clone(), sweep.clone());
                Ok(Ok(sweep))
            }
            Err(error) => Ok(Err(format!("object `{key}`: {error}"))),
        }
    }

    /// The present state of a sweep, readable or not.
    ///
    /// # Errors
    /// When it is unknown, or the store or NATS fails.
    pub async fn entry(&mut self, id: &SweepId) -> Result<Entry> {
        let marks = self.marks_of_known(id).await?;
        self.entry_of(id, marks).await
    }

    /// The present state of a sweep that can be read.
    ///
    /// # Errors
    /// When it is unknown or cannot be read, or the store or NATS fails.
    pub async fn view(&mut self, id: &SweepId) -> Result<View> {
        match self.entry(id).await? {
            Entry::Readable(view) => Ok(*view),
            Entry::Unreadable(unreadable) => bail!("{}", unreadable.sentence()),
        }
    }

    async fn entry_of(&mut self, id: &SweepId, marks: Marks) -> Result<Entry> {
        let sweep = match self.sweep(id).await? {
            Ok(sweep) => sweep,
            Err(reason) => {
                return Ok(Entry::Unreadable(Unreadable {
                    id: id.clone(),
                    marks,
                    reason,
                }));
            }
        };
        let plan = self.plan(&sweep).await?;
        let outcome = fold(&sweep, &self.known);
        Ok(Entry::Readable(Box::new(View::new(
            sweep, marks, outcome, plan.nodes,
        ))))
    }

    /// Forgets a result that was discarded: the store is asked for it again.
    pub fn forget(&mut self, key: &JobKey) {
        self.known.remove(key);
    }

    /// The plan of a sweep, submitted or not, with every result that the store has. The plan is
    /// made repeatedly: results found in one round determine further jobs, whose results are looked
    /// up in the next.
    ///
    /// # Errors
    /// When the store or NATS fails.
    pub async fn plan(&mut self, sweep: &Sweep) -> Result<Plan> {
        let submitter = Submitter::new(&self.connection);
        for key in sweep.image_sets() {
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
            let lookups: Vec<_> = open.iter().map(|key| submitter.manifest(key)).collect();
            let found = futures::stream::iter(lookups).buffered(LOOK_UPS);
            let found: Vec<_> = found.collect().await;
            for (key, manifest) in open.into_iter().zip(found) {
                let letter = letters.iter().find(|letter| letter.key == key);
                match (manifest, letter) {
                    (Ok(Some(manifest)), _) => self.known.record(manifest),
                    // A result of a newer program: for this one the job cannot be done. The
                    // coordinator says the same.
                    (Err(RuntimeError::Contract(error)), _) => {
                        self.known.record_dead(key.clone(), error.to_string());
                    }
                    (Err(error), _) => return Err(error.into()),
                    (Ok(None), Some(letter)) => {
                        self.known.record_dead(key.clone(), letter.error.clone());
                    }
                    (Ok(None), None) => {
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

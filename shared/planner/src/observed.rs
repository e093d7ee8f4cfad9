//! The observed state that a plan is made from: results that exist, and jobs among the dead
//! letters.

use crate::graph::shapes_the_graph;
use cedm_contract::{Digest, JobKey, Kind, Manifest, kinds::cluster::ClusterParams};
use std::collections::HashMap;

/// The state of a job. The planner asks for the same key often: answers should be cheap.
pub trait ObservedState {
    /// Its manifest, where one exists. A planner asks for those of imports and bound steps, a fold
    /// for those of all kinds.
    fn manifest(&self, key: &JobKey) -> Option<&Manifest>;
    /// As much of its manifest as decides the keys below it; `Some` wherever a manifest exists.
    fn result(&self, key: &JobKey) -> Option<Found<'_>> {
        self.manifest(key).map(Found::of)
    }
    /// The error of its dead letter, where it has one.
    fn dead(&self, key: &JobKey) -> Option<&str>;
}

/// A result that exists.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Digest of its manifest.
    pub digest: &'a Digest,
    /// When it was written, in Unix milliseconds.
    pub finished_ms: u64,
    /// The kind of its job.
    pub kind: Kind,
    /// Clusters in use, of a clustering.
    pub used: Option<u32>,
}

impl<'a> Found<'a> {
    fn of(manifest: &'a Manifest) -> Self {
        let clustering = manifest.as_kind::<ClusterParams>();
        Self {
            digest: &manifest.digest,
            finished_ms: manifest.timings.finished_ms,
            kind: manifest.kind(),
            used: clustering.ok().map(|(_, result)| result.used),
        }
    }
}

/// The observed state in memory.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    results: HashMap<JobKey, Kept>,
    dead: HashMap<JobKey, String>,
    /// Whether manifests are kept that only a fold reads.
    for_planning: bool,
}

/// What is kept of a result.
#[derive(Clone, Debug)]
struct Kept {
    digest: Digest,
    finished_ms: u64,
    kind: Kind,
    used: Option<u32>,
    manifest: Option<Box<Manifest>>,
}

impl Observed {
    /// A state that holds of most results the digest alone, a fraction of the memory of their
    /// manifests: enough to plan, not to fold.
    pub fn for_planning() -> Self {
        Self {
            for_planning: true,
            ..Self::default()
        }
    }
    /// Records a result; its job is not dead any more.
    pub fn record(&mut self, manifest: Manifest) {
        self.dead.remove(&manifest.key);
        let is_kept = !self.for_planning || shapes_the_graph(manifest.kind());
        let found = Found::of(&manifest);
        let kept = Kept {
            digest: found.digest.clone(),
            finished_ms: found.finished_ms,
            kind: found.kind,
            used: found.used,
            manifest: None,
        };
        let key = manifest.key.clone();
        let manifest = is_kept.then(|| Box::new(manifest));
        self.results.insert(key, Kept { manifest, ..kept });
    }
    /// Records a dead letter, unless there is a result.
    pub fn record_dead(&mut self, key: JobKey, reason: impl Into<String>) {
        if !self.results.contains_key(&key) {
            self.dead.insert(key, reason.into());
        }
    }
    /// Replaces all dead letters. Returns the keys of those that appeared, disappeared or became
    /// others.
    pub fn replace_dead(&mut self, mut letters: HashMap<JobKey, String>) -> Vec<JobKey> {
        letters.retain(|key, _| !self.results.contains_key(key));
        let gone = self.dead.keys().filter(|key| !letters.contains_key(*key));
        let changed = letters
            .iter()
            .filter(|(key, reason)| self.dead.get(*key) != Some(*reason));
        let keys = gone.chain(changed.map(|(key, _)| key)).cloned().collect();
        self.dead = letters;
        keys
    }
    /// Whether a job is among the dead letters.
    pub fn is_dead(&self, key: &JobKey) -> bool {
        self.dead.contains_key(key)
    }
    /// Removes a dead letter: the job was replayed.
    pub fn clear_dead(&mut self, key: &JobKey) {
        self.dead.remove(key);
    }
    /// Removes a result: it was discarded.
    pub fn remove(&mut self, key: &JobKey) {
        self.results.remove(key);
    }
    /// The manifests that are kept.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.results
            .values()
            .filter_map(|kept| kept.manifest.as_deref())
    }
    /// Keys of all results.
    pub fn keys(&self) -> impl Iterator<Item = &JobKey> {
        self.results.keys()
    }
}

impl ObservedState for Observed {
    fn manifest(&self, key: &JobKey) -> Option<&Manifest> {
        self.results.get(key)?.manifest.as_deref()
    }
    fn result(&self, key: &JobKey) -> Option<Found<'_>> {
        self.results.get(key).map(|kept| Found {
            digest: &kept.digest,
            finished_ms: kept.finished_ms,
            kind: kept.kind,
            used: kept.used,
        })
    }
    fn dead(&self, key: &JobKey) -> Option<&str> {
        self.dead.get(key).map(String::as_str)
    }
}

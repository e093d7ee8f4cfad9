//! The observed state that a plan is made from: results that exist, and jobs among the dead
//! letters.

use cedm_contract::{JobKey, Manifest};
use std::collections::HashMap;

/// The state of a job. The planner asks for the same key often: answers should be cheap.
pub trait ObservedState {
    /// Its manifest, where one exists.
    fn manifest(&self, key: &JobKey) -> Option<&Manifest>;
    /// The error of its dead letter, where it has one.
    fn dead(&self, key: &JobKey) -> Option<&str>;
}

/// The observed state in memory.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    manifests: HashMap<JobKey, Manifest>,
    dead: HashMap<JobKey, String>,
}

impl Observed {
    /// Records a result; its job is not dead any more.
    pub fn record(&mut self, manifest: Manifest) {
        self.dead.remove(&manifest.key);
        self.manifests.insert(manifest.key.clone(), manifest);
    }
    /// Records a dead letter, unless there is a result.
    pub fn record_dead(&mut self, key: JobKey, reason: impl Into<String>) {
        if !self.manifests.contains_key(&key) {
            self.dead.insert(key, reason.into());
        }
    }
    /// Replaces all dead letters.
    pub fn replace_dead(&mut self, letters: HashMap<JobKey, String>) {
        self.dead = letters;
        self.dead.retain(|key, _| !self.manifests.contains_key(key));
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
        self.manifests.remove(key);
    }
    /// Keys of all results.
    pub fn keys(&self) -> impl Iterator<Item = &JobKey> {
        self.manifests.keys()
    }
}

impl ObservedState for Observed {
    fn manifest(&self, key: &JobKey) -> Option<&Manifest> {
        self.manifests.get(key)
    }
    fn dead(&self, key: &JobKey) -> Option<&str> {
        self.dead.get(key).map(String::as_str)
    }
}

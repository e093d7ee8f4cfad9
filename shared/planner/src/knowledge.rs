//! What is known: manifests that exist, jobs that nobody could do.

use cedm_contract::{JobKey, Manifest};
use std::collections::HashMap;

/// Answers what has become of a job. The planner asks for the same key often: answers should be
/// cheap.
pub trait Knowledge {
    /// Its manifest, where one exists.
    fn manifest(&self, key: &JobKey) -> Option<&Manifest>;
    /// Why nobody could do it, where it lies among the dead letters.
    fn dead(&self, key: &JobKey) -> Option<&str>;
}

/// Knowledge in memory.
#[derive(Clone, Debug, Default)]
pub struct Known {
    manifests: HashMap<JobKey, Manifest>,
    dead: HashMap<JobKey, String>,
}

impl Known {
    /// Learns of a result; a job that was dead is so no longer.
    pub fn learn(&mut self, manifest: Manifest) {
        self.dead.remove(&manifest.key);
        self.manifests.insert(manifest.key.clone(), manifest);
    }
    /// Learns of a dead letter, unless there is a result.
    pub fn mark_dead(&mut self, key: JobKey, reason: impl Into<String>) {
        if !self.manifests.contains_key(&key) {
            self.dead.insert(key, reason.into());
        }
    }
    /// Replaces everything known about dead letters.
    pub fn set_dead(&mut self, letters: HashMap<JobKey, String>) {
        self.dead = letters;
        self.dead.retain(|key, _| !self.manifests.contains_key(key));
    }
    /// Whether a job lies among the dead letters.
    pub fn is_dead(&self, key: &JobKey) -> bool {
        self.dead.contains_key(key)
    }
    /// Forgets that a job was dead: it was replayed.
    pub fn revive(&mut self, key: &JobKey) {
        self.dead.remove(key);
    }
    /// Forgets a result: it was discarded.
    pub fn forget(&mut self, key: &JobKey) {
        self.manifests.remove(key);
    }
    /// Keys of all known results.
    pub fn keys(&self) -> impl Iterator<Item = &JobKey> {
        self.manifests.keys()
    }
}

impl Knowledge for Known {
    fn manifest(&self, key: &JobKey) -> Option<&Manifest> {
        self.manifests.get(key)
    }
    fn dead(&self, key: &JobKey) -> Option<&str> {
        self.dead.get(key).map(String::as_str)
    }
}

//! A sweep that is under way, with its graph.

use cedm_contract::{JobKey, Priority};
use cedm_planner::{Graph, Observed};
use cedm_sweep::Sweep;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Jobs in the queue, with the priority under which each lies there.
pub(super) type Queued = BTreeMap<JobKey, Priority>;

/// An active sweep: what is to be done follows from its graph, which events update.
pub(super) struct Active {
    pub(super) sweep: Arc<Sweep>,
    pub(super) graph: Graph,
    /// Jobs that could run now, and are not in the queue or lie there under a lesser priority.
    pub(super) pending: BTreeSet<JobKey>,
    /// Whether something changed since the sweep was last brought as far as possible.
    pub(super) is_due: bool,
}

impl Active {
    pub(super) fn new(sweep: Sweep, known: &Observed, queued: &Queued) -> Self {
        let mut active = Self {
            graph: Graph::new(&sweep, known),
            sweep: Arc::new(sweep),
            pending: BTreeSet::new(),
            is_due: true,
        };
        active.add_fresh(queued);
        active
    }

    /// Follows a change of what is known of a job.
    pub(super) fn follow(&mut self, key: &JobKey, known: &Observed, queued: &Queued) {
        if self.graph.contains(key) {
            self.graph.update(&self.sweep, known, key);
            self.add_fresh(queued);
            self.is_due = true;
            self.reconsider(key, queued);
        }
    }

    /// Follows a change of a job's place in the queue.
    pub(super) fn reconsider(&mut self, key: &JobKey, queued: &Queued) {
        if !self.graph.contains(key) {
            return;
        }
        if self.graph.is_ready(key) && self.is_wanted(key, queued) {
            self.pending.insert(key.clone());
            self.is_due = true;
        } else {
            self.pending.remove(key);
        }
    }

    /// Compares everything that could run with what is queued now.
    pub(super) fn compare(&mut self, queued: &Queued) {
        self.graph.take_fresh();
        let ready = self.graph.ready_keys();
        let pending = ready.filter(|key| self.is_wanted(key, queued)).cloned();
        self.pending = pending.collect();
        self.is_due = true;
    }

    fn add_fresh(&mut self, queued: &Queued) {
        for key in self.graph.take_fresh() {
            if self.is_wanted(&key, queued) {
                self.pending.insert(key);
            }
        }
    }

    /// Whether the queue lacks a job, or has it where it waits behind less urgent ones.
    fn is_wanted(&self, key: &JobKey, queued: &Queued) -> bool {
        let priority = self.sweep.spec.priority;
        queued.get(key).is_none_or(|under| priority < *under)
    }
}

//! What an event changes: the nodes of its key, and those below them.

use super::{Graph, Index, Nodes, Status, shapes_the_graph};
use crate::ObservedState;
use cedm_contract::JobKey;
use cedm_sweep::{Sweep, outcome::JobCounts};
use std::collections::BTreeSet;

impl Graph {
    /// Follows a change of what is observed of `key`: a result appeared, disappeared or became
    /// another, a dead letter appeared or disappeared. `sweep` is the sweep of this graph.
    pub fn update(&mut self, sweep: &Sweep, observed: &dyn ObservedState, key: &JobKey) {
        let touched = self.nodes_of(key);
        let mut due: BTreeSet<Index> = BTreeSet::new();
        for index in touched {
            let node = self.node(index);
            if shapes_the_graph(node.kind)
                && (node.status.is_done() || observed.result(key).is_some())
            {
                *self = Graph::new(sweep, observed);
                return;
            }
            due.insert(index);
            if node.status.is_done() {
                // Its result may be another one now, and then all keys below are other ones.
                due.extend(self.readers_of(index));
            }
        }
        while let Some(index) = due.pop_first() {
            let before = self.node(index).status;
            let (key, status) = self.judge(index, observed);
            if status == before && key == self.node(index).key {
                continue;
            }
            if shapes_the_graph(self.node(index).kind) && (before.is_done() || status.is_done()) {
                *self = Graph::new(sweep, observed);
                return;
            }
            self.leave(index);
            self.enter(index, key, status);
            for at in self.first_reader[index as usize]..self.first_reader[index as usize + 1] {
                let reader = self.readers[at as usize];
                let node = &mut self.nodes[reader as usize];
                node.open = node.open + u32::from(before.is_done()) - u32::from(status.is_done());
                node.stuck =
                    node.stuck + u32::from(status.is_stuck()) - u32::from(before.is_stuck());
                due.insert(reader);
            }
        }
    }

    /// Counts a node in this state.
    pub(super) fn enter(&mut self, index: Index, key: Option<JobKey>, status: Status) {
        if let Some(key) = &key {
            match self.by_key.get_mut(key) {
                None => {
                    self.by_key.insert(key.clone(), Nodes::One(index));
                }
                Some(Nodes::Many(all)) => {
                    all.insert(index);
                }
                Some(one @ Nodes::One(_)) => {
                    let Nodes::One(first) = *one else { return };
                    *one = Nodes::Many(Box::new(BTreeSet::from([first, index])));
                    self.shared.insert(key.clone());
                }
            }
        }
        add(&mut self.counts, status, 1);
        let node = &mut self.nodes[index as usize];
        (node.key, node.status) = (key, status);
        if status == Status::Ready && node.kind.is_queued() {
            self.ready.insert(index);
            self.fresh.push(index);
        }
    }

    /// Undoes [`Self::enter`].
    fn leave(&mut self, index: Index) {
        let node = &mut self.nodes[index as usize];
        let status = node.status;
        if let Some(key) = node.key.take() {
            match self.by_key.get_mut(&key) {
                Some(Nodes::Many(all)) => {
                    all.remove(&index);
                    if all.is_empty() {
                        self.shared.remove(&key);
                        self.by_key.remove(&key);
                    }
                }
                Some(Nodes::One(_)) => {
                    self.by_key.remove(&key);
                }
                None => {}
            }
        }
        add(&mut self.counts, status, -1);
        if status == Status::Ready {
            self.ready.remove(&index);
        }
    }
}

pub(super) fn add(counts: &mut JobCounts, status: Status, change: i64) {
    let counter = match status {
        Status::Done { cached } => {
            if cached {
                counts.cached = counts.cached.wrapping_add_signed(change);
            }
            &mut counts.done
        }
        Status::Ready => &mut counts.ready,
        Status::Waiting => &mut counts.waiting,
        Status::Dead => &mut counts.dead,
        Status::Blocked => &mut counts.blocked,
    };
    *counter = counter.wrapping_add_signed(change);
}

//! Puts the plan together node by node: a job gets its key once its inputs are done, and a reason
//! to wait until then.

use crate::{Cell, Node, ObservedState, Plan, State, Work, message};
use cedm_contract::{
    Hints, Input, Inputs, Job, JobKey, JobKind, JobSpec, Kind, MAX_MESSAGE_BYTES, Manifest,
};
use cedm_sweep::Sweep;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A node that another one reads.
#[derive(Clone, Copy)]
pub(crate) enum Dependency<'k> {
    /// It is done: its manifest.
    Done(&'k Manifest),
    /// It is not done: its index in the plan.
    Open(usize),
}

impl<'k> Dependency<'k> {
    /// Its manifest, once it is done.
    pub(crate) fn done(self) -> Option<&'k Manifest> {
        match self {
            Dependency::Done(manifest) => Some(manifest),
            Dependency::Open(_) => None,
        }
    }
}

/// A node to be added: what it is called, where it belongs and how much work it is.
pub(crate) struct NodeDraft {
    id: String,
    cell: Option<Cell>,
    space: Option<String>,
    work: Work,
}

impl NodeDraft {
    pub(crate) fn new(id: impl Into<String>, work: Work) -> Self {
        Self {
            id: id.into(),
            cell: None,
            space: None,
            work,
        }
    }
    /// Coordinates in the sweep.
    pub(crate) fn cell(mut self, cell: &Cell) -> Self {
        self.cell = Some(cell.clone());
        self
    }
    /// Name of the evaluation feature space.
    pub(crate) fn space(mut self, space: &str) -> Self {
        self.space = Some(space.to_owned());
        self
    }
}

/// A plan that nodes are added to.
pub(crate) struct PlanBuilder<'k> {
    pub(crate) sweep: &'k Sweep,
    observed: &'k dyn ObservedState,
    nodes: Vec<Node>,
    by_id: HashMap<String, usize>,
}

impl<'k> PlanBuilder<'k> {
    pub(crate) fn new(sweep: &'k Sweep, observed: &'k dyn ObservedState) -> Self {
        Self {
            sweep,
            observed,
            nodes: Vec::new(),
            by_id: HashMap::new(),
        }
    }

    pub(crate) fn finish(self) -> Plan {
        Plan {
            sweep: self.sweep.id.clone(),
            nodes: self.nodes,
        }
    }

    /// The node with this id, if it was added before.
    pub(crate) fn existing(&self, id: &str) -> Option<Dependency<'k>> {
        self.by_id.get(id).map(|index| self.dependency(*index))
    }

    /// Adds a job of kind `K` (once per id). Its parameters are asked for only when everything that
    /// it reads is done; an error makes the node dead.
    pub(crate) fn add<K: JobKind>(
        &mut self,
        draft: NodeDraft,
        inputs: K::Inputs<Dependency<'k>>,
        params: impl FnOnce() -> Result<K, String>,
    ) -> Dependency<'k> {
        if let Some(dependency) = self.existing(&draft.id) {
            return dependency;
        }
        let mut done = Vec::new();
        let mut open = Vec::new();
        let roles = inputs.into_roles();
        let least_bytes = message::least_bytes(&roles);
        for (role, dependency) in roles {
            match dependency {
                Dependency::Done(manifest) => done.push(manifest.as_input(role)),
                Dependency::Open(index) => open.push(index),
            }
        }
        // A key covers the digests of the inputs, so there is none before all of them exist.
        let (job, state) = if open.is_empty() {
            match params() {
                Ok(params) => self.keyed(&draft, params.into(), done),
                Err(reason) => (None, State::Dead { reason }),
            }
        } else if K::IS_QUEUED && least_bytes > MAX_MESSAGE_BYTES {
            // Said before its inputs are made, which may take days.
            let reason = message::too_large(done.len() + open.len(), least_bytes);
            (None, State::Dead { reason })
        } else {
            (None, self.waiting_or_blocked(&open))
        };
        let message_bytes = match &job {
            _ if !K::IS_QUEUED => 0,
            Some(job) => job.message_bytes(),
            None => least_bytes,
        };
        let NodeDraft {
            id,
            cell,
            space,
            work,
        } = draft;
        self.push(Node {
            id,
            kind: K::KIND,
            cell,
            space,
            job,
            state,
            work,
            message_bytes,
        })
    }

    /// Adds a node that no service can perform, with the reason.
    pub(crate) fn add_dead(
        &mut self,
        draft: NodeDraft,
        kind: Kind,
        reason: String,
    ) -> Dependency<'k> {
        if let Some(dependency) = self.existing(&draft.id) {
            return dependency;
        }
        let NodeDraft {
            id,
            cell,
            space,
            work,
        } = draft;
        self.push(Node {
            id,
            kind,
            cell,
            space,
            job: None,
            state: State::Dead { reason },
            work,
            message_bytes: 0,
        })
    }

    /// Adds an import: its key was given at submission.
    pub(crate) fn add_import(
        &mut self,
        id: String,
        key: &JobKey,
        missing: String,
    ) -> Dependency<'k> {
        let state = match self.observed.manifest(key) {
            Some(manifest) => self.done(manifest),
            None => State::Dead { reason: missing },
        };
        let job = self.observed.manifest(key).map(|manifest| Job {
            schema: manifest.schema,
            key: manifest.key.clone(),
            spec: manifest.spec.clone(),
            inputs: manifest.inputs.clone(),
            priority: self.sweep.spec.priority,
            hints: self.hints(&id),
        });
        self.push(Node {
            id,
            kind: Kind::Import,
            cell: None,
            space: None,
            job,
            state,
            work: Work::one(),
            message_bytes: 0,
        })
    }

    /// The job that is called `label`.
    pub(crate) fn job(&self, label: &str, spec: JobSpec, inputs: Vec<Input>) -> Job {
        Job::new(spec, inputs, self.sweep.spec.priority, self.hints(label))
    }

    fn hints(&self, label: &str) -> Hints {
        Hints {
            checkpoint_every_s: None,
            sweep: Some(self.sweep.id.clone()),
            label: label.to_owned(),
        }
    }

    fn push(&mut self, node: Node) -> Dependency<'k> {
        let index = self.nodes.len();
        self.by_id.insert(node.id.clone(), index);
        self.nodes.push(node);
        self.dependency(index)
    }

    fn dependency(&self, index: usize) -> Dependency<'k> {
        let node = &self.nodes[index];
        let manifest = match (&node.state, &node.job) {
            (State::Done { .. }, Some(job)) => self.observed.manifest(&job.key),
            _ => None,
        };
        manifest.map_or(Dependency::Open(index), Dependency::Done)
    }

    fn keyed(&self, draft: &NodeDraft, spec: JobSpec, inputs: Vec<Input>) -> (Option<Job>, State) {
        let job = self.job(&draft.id, spec, inputs);
        let state = match (
            self.observed.manifest(&job.key),
            self.observed.dead(&job.key),
        ) {
            // A result wins over a dead letter: a worker that lost the job may have finished after
            // all.
            (Some(manifest), _) => self.done(manifest),
            (None, Some(reason)) => State::Dead {
                reason: reason.to_owned(),
            },
            (None, None) if job.kind().is_queued() && job.message_bytes() > MAX_MESSAGE_BYTES => {
                State::Dead {
                    reason: message::too_large(job.inputs.len(), job.message_bytes()),
                }
            }
            (None, None) => State::Ready,
        };
        (Some(job), state)
    }

    fn done(&self, manifest: &Manifest) -> State {
        State::Done {
            // Finished before this sweep existed, so another one paid for it.
            cached: manifest.timings.finished_ms < self.sweep.submitted_ms,
            digest: manifest.digest.clone(),
        }
    }

    /// Waiting for these nodes, or blocked when one of them is dead or blocked.
    fn waiting_or_blocked(&self, open: &[usize]) -> State {
        let mut roots = BTreeSet::new();
        for index in open {
            let node = &self.nodes[*index];
            match &node.state {
                State::Dead { .. } => {
                    roots.insert(node.id.clone());
                }
                // The roots of the trouble, not the chain: a person has to mend those.
                State::Blocked { by } => roots.extend(by.iter().cloned()),
                _ => {}
            }
        }
        if !roots.is_empty() {
            return State::Blocked {
                by: roots.into_iter().collect(),
            };
        }
        // A shard list may name one node often; a person reads it once. The report waits for every
        // node: a search through the list for each would be quadratic.
        let mut seen = HashSet::with_capacity(open.len());
        let first = open.iter().filter(|index| seen.insert(**index));
        let on = first.map(|index| self.nodes[*index].id.clone()).collect();
        State::Waiting { on }
    }

    /// Every node so far.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

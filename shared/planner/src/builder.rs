//! Puts the plan together node by node: gives a job its key when its inputs are known, and a reason
//! to wait when not.

use crate::{Cell, Knowledge, Node, Plan, State, Work};
use cedm_contract::{Hints, Input, Job, JobSpec, Kind, Manifest};
use cedm_sweep::Sweep;
use std::collections::{BTreeSet, HashMap};

/// Something that a node reads.
#[derive(Clone, Copy)]
pub(crate) enum Dep<'k> {
    /// Its manifest.
    Done(&'k Manifest),
    /// The node that is not done, by index.
    Open(usize),
}

impl<'k> Dep<'k> {
    /// The manifest, once there.
    pub(crate) fn done(self) -> Option<&'k Manifest> {
        match self {
            Dep::Done(manifest) => Some(manifest),
            Dep::Open(_) => None,
        }
    }
}

/// A node to be added.
pub(crate) struct Draft<'k> {
    id: String,
    kind: Kind,
    cell: Option<Cell>,
    space: Option<String>,
    work: Work,
    reads: Vec<(String, Dep<'k>)>,
}

impl<'k> Draft<'k> {
    pub(crate) fn new(id: impl Into<String>, kind: Kind, work: Work) -> Self {
        Self {
            id: id.into(),
            kind,
            cell: None,
            space: None,
            work,
            reads: Vec::new(),
        }
    }
    pub(crate) fn cell(mut self, cell: &Cell) -> Self {
        self.cell = Some(cell.clone());
        self
    }
    pub(crate) fn space(mut self, space: &str) -> Self {
        self.space = Some(space.to_owned());
        self
    }
    pub(crate) fn reads(mut self, role: impl Into<String>, dep: Dep<'k>) -> Self {
        self.reads.push((role.into(), dep));
        self
    }
    /// Reads all shards in order, in roles `shard/<index>`.
    pub(crate) fn shards(mut self, shards: Vec<Dep<'k>>) -> Self {
        self.reads.extend(
            shards
                .into_iter()
                .enumerate()
                .map(|(index, dep)| (shard_role(index), dep)),
        );
        self
    }
    /// Reads something that may not be asked for.
    pub(crate) fn maybe(self, role: &str, dep: Option<Dep<'k>>) -> Self {
        match dep {
            Some(dep) => self.reads(role, dep),
            None => self,
        }
    }
}

/// `shard/00007`.
fn shard_role(index: usize) -> String {
    format!("shard/{index:05}")
}

/// The plan in the making.
pub(crate) struct Builder<'k> {
    pub(crate) sweep: &'k Sweep,
    known: &'k dyn Knowledge,
    nodes: Vec<Node>,
    by_id: HashMap<String, usize>,
}

impl<'k> Builder<'k> {
    pub(crate) fn new(sweep: &'k Sweep, known: &'k dyn Knowledge) -> Self {
        Self {
            sweep,
            known,
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
    pub(crate) fn existing(&self, id: &str) -> Option<Dep<'k>> {
        self.by_id.get(id).map(|index| self.dep(*index))
    }

    /// Adds a node (once per id). `spec` is asked for only when everything it reads is done; an
    /// error makes the node dead.
    pub(crate) fn add(
        &mut self,
        draft: Draft<'k>,
        spec: impl FnOnce() -> Result<JobSpec, String>,
    ) -> Dep<'k> {
        if let Some(dep) = self.existing(&draft.id) {
            return dep;
        }
        let open: Vec<usize> = draft
            .reads
            .iter()
            .filter_map(|(_, dep)| {
                if let Dep::Open(index) = dep {
                    Some(*index)
                } else {
                    None
                }
            })
            .collect();
        let (job, state) = if open.is_empty() {
            match spec() {
                Ok(spec) => self.keyed(&draft, spec),
                Err(reason) => (None, State::Dead { reason }),
            }
        } else {
            (None, self.held_up(&open))
        };
        let Draft {
            id,
            kind,
            cell,
            space,
            work,
            ..
        } = draft;
        self.push(Node {
            id,
            kind,
            cell,
            space,
            job,
            state,
            work,
        })
    }

    /// A node that stands for an import: its key was given at submission.
    pub(crate) fn given(
        &mut self,
        id: String,
        key: &cedm_contract::JobKey,
        missing: String,
    ) -> Dep<'k> {
        let state = match self.known.manifest(key) {
            Some(manifest) => self.done(manifest),
            None => State::Dead { reason: missing },
        };
        let job = self.known.manifest(key).map(|manifest| Job {
            schema: manifest.schema,
            key: manifest.key.clone(),
            spec: manifest.spec.clone(),
            inputs: manifest.inputs.clone(),
            priority: self.sweep.spec.priority,
            hints: Hints {
                checkpoint_every_s: None,
                sweep: Some(self.sweep.id.clone()),
                label: id.clone(),
            },
        });
        self.push(Node {
            id,
            kind: Kind::Import,
            cell: None,
            space: None,
            job,
            state,
            work: Work::one(),
        })
    }

    fn push(&mut self, node: Node) -> Dep<'k> {
        let index = self.nodes.len();
        self.by_id.insert(node.id.clone(), index);
        self.nodes.push(node);
        self.dep(index)
    }

    fn dep(&self, index: usize) -> Dep<'k> {
        let node = &self.nodes[index];
        let manifest = match (&node.state, &node.job) {
            (State::Done { .. }, Some(job)) => self.known.manifest(&job.key),
            _ => None,
        };
        manifest.map_or(Dep::Open(index), Dep::Done)
    }

    fn keyed(&self, draft: &Draft<'k>, spec: JobSpec) -> (Option<Job>, State) {
        let inputs: Vec<Input> = draft
            .reads
            .iter()
            .filter_map(|(role, dep)| dep.done().map(|manifest| manifest.as_input(role)))
            .collect();
        let hints = Hints {
            checkpoint_every_s: None,
            sweep: Some(self.sweep.id.clone()),
            label: draft.id.clone(),
        };
        let job = Job::new(spec, inputs, self.sweep.spec.priority, hints);
        let state = match (self.known.manifest(&job.key), self.known.dead(&job.key)) {
            (Some(manifest), _) => self.done(manifest),
            (None, Some(reason)) => State::Dead {
                reason: reason.to_owned(),
            },
            (None, None) => State::Ready,
        };
        (Some(job), state)
    }

    fn done(&self, manifest: &Manifest) -> State {
        State::Done {
            cached: manifest.timings.finished_ms < self.sweep.submitted_ms,
            digest: manifest.digest.clone(),
        }
    }

    /// Waiting for these nodes, or blocked when one of them will not come.
    fn held_up(&self, open: &[usize]) -> State {
        let mut roots = BTreeSet::new();
        for index in open {
            let node = &self.nodes[*index];
            match &node.state {
                State::Dead { .. } => {
                    roots.insert(node.id.clone());
                }
                State::Blocked { by } => roots.extend(by.iter().cloned()),
                _ => {}
            }
        }
        if !roots.is_empty() {
            return State::Blocked {
                by: roots.into_iter().collect(),
            };
        }
        let mut on: Vec<String> = Vec::new();
        for index in open {
            let id = &self.nodes[*index].id;
            if !on.contains(id) {
                on.push(id.clone());
            }
        }
        State::Waiting { on }
    }

    /// Every node so far.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}

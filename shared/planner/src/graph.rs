//! The graph of a sweep, kept in memory: every node with what it reads, and how far each is.
//!
//! Two parts. The *shape* (nodes, edges, parameters) follows from the sweep, its image sets and the
//! results of its bound searches alone. The *state* of a node follows from the states of the nodes
//! that it reads and from what is observed of its own key. So an event touches the nodes of one key
//! and those below them whose state changes ([`Graph::update`]), and everything is made anew only
//! where an image set or a step of a bound search is the news.
//!
//! [`crate::plan`] is a graph that was just made, written out. An updated graph equals it after
//! every event, which a property test holds.

mod judge;
mod update;
mod write_out;

pub(crate) use write_out::States;

use crate::{Cell, ObservedState, Plan, Work, chain};
use cedm_contract::{EncodedSpec, Hints, Job, JobKey, Kind, MAX_MESSAGE_BYTES, Priority, SweepId};
use cedm_sweep::{
    Sweep,
    outcome::{JobCounts, SweepState},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Position of a node in the graph: behind all that it reads.
pub(crate) type Index = u32;

/// Whether results of this kind decide which nodes there are.
pub(crate) fn shapes_the_graph(kind: Kind) -> bool {
    matches!(kind, Kind::Import | Kind::Bound)
}

/// What becomes the job of a node once everything that it reads is done.
pub(crate) enum Recipe {
    /// An import, which was given its key at submission.
    Import {
        /// Its key.
        key: Box<JobKey>,
        /// What to say while there is no such result.
        missing: Box<str>,
    },
    /// A job with these parameters.
    Spec(EncodedSpec),
    /// A training job with these parameters, whose network is as wide as this clustering has
    /// clusters in use.
    Conditioned {
        /// Parameters as if there were no condition.
        spec: EncodedSpec,
        /// The clustering.
        condition: Index,
    },
    /// No job, and why.
    Impossible(Box<str>),
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Done { cached: bool },
    Ready,
    Waiting,
    Dead,
    Blocked,
}

impl Status {
    fn is_done(self) -> bool {
        matches!(self, Status::Done { .. })
    }
    fn is_stuck(self) -> bool {
        matches!(self, Status::Dead | Status::Blocked)
    }
}

/// A node as it is kept: a few hundred bytes.
pub(crate) struct StoredNode {
    id: Arc<str>,
    kind: Kind,
    work: Work,
    cell: Option<Arc<Cell>>,
    space: Option<Arc<str>>,
    /// Names of its inputs.
    roles: Arc<[Box<str>]>,
    /// The nodes that it reads, in the order of their roles.
    inputs: Box<[Index]>,
    recipe: Recipe,
    /// Bytes that its inputs take in its message; 0 for jobs that are not queued.
    least_bytes: u32,
    /// Inputs that are not done.
    open: u32,
    /// Inputs that are dead or blocked.
    stuck: u32,
    /// Key of its job, once everything that it reads is done.
    key: Option<JobKey>,
    status: Status,
}

impl StoredNode {
    pub(crate) fn new(
        (id, kind, work): (Arc<str>, Kind, Work),
        cell: Option<Arc<Cell>>,
        space: Option<Arc<str>>,
        (roles, inputs): (Arc<[Box<str>]>, Vec<Index>),
        (recipe, least_bytes): (Recipe, usize),
    ) -> Self {
        Self {
            id,
            kind,
            work,
            cell,
            space,
            roles,
            inputs: inputs.into(),
            recipe,
            least_bytes: u32::try_from(least_bytes).unwrap_or(u32::MAX),
            open: 0,
            stuck: 0,
            key: None,
            status: Status::Waiting,
        }
    }

    /// Whether no message can hold its job, whatever its parameters.
    fn is_oversized(&self) -> bool {
        self.least_bytes as usize > MAX_MESSAGE_BYTES
    }
}

/// A node as a fold reads it.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'g> {
    pub(crate) index: Index,
    pub(crate) id: &'g str,
    pub(crate) kind: Kind,
    pub(crate) cell: Option<&'g Cell>,
    pub(crate) space: Option<&'g str>,
    /// Key of its job, where it has one.
    pub(crate) key: Option<&'g JobKey>,
    /// The same, where the job is done.
    pub(crate) done: Option<&'g JobKey>,
    /// Key of the condition of a training job that has a key.
    pub(crate) condition: Option<&'g JobKey>,
}

/// Every job of a sweep with its state, updated by what happens.
pub struct Graph {
    sweep: SweepId,
    priority: Priority,
    submitted_ms: u64,
    nodes: Vec<StoredNode>,
    /// Whether the report is planned: not before the image set is known.
    pub(crate) has_report: bool,
    /// Nodes by the key of their job; several where a sweep asks for the same work twice.
    by_key: HashMap<JobKey, Nodes>,
    /// Where the readers of each node begin in `readers`.
    first_reader: Vec<u32>,
    readers: Vec<Index>,
    /// Numbers of nodes by state; two nodes of one job count twice.
    counts: JobCounts,
    /// Keys of jobs for which more than one node stands.
    shared: BTreeSet<JobKey>,
    /// Nodes whose job could run now and travels through the queue.
    ready: BTreeSet<Index>,
    /// Those of them that became ready since they were last asked for.
    fresh: Vec<Index>,
}

/// The nodes of one key: hardly ever more than one.
enum Nodes {
    One(Index),
    #[expect(
        clippy::box_collection,
        reason = "a set in place would double the size of every entry"
    )]
    Many(Box<BTreeSet<Index>>),
}

impl Graph {
    /// The graph of a sweep in this state.
    pub fn new(sweep: &Sweep, observed: &dyn ObservedState) -> Self {
        let mut builder = crate::builder::PlanBuilder::new(sweep, observed);
        chain::build(&mut builder);
        builder.finish()
    }

    pub(crate) fn empty(sweep: &Sweep) -> Self {
        Self {
            sweep: sweep.id.clone(),
            priority: sweep.spec.priority,
            submitted_ms: sweep.submitted_ms,
            nodes: Vec::new(),
            has_report: false,
            by_key: HashMap::new(),
            first_reader: Vec::new(),
            readers: Vec::new(),
            counts: JobCounts::default(),
            shared: BTreeSet::new(),
            ready: BTreeSet::new(),
            fresh: Vec::new(),
        }
    }

    /// Adds a node behind all others, in the state that those it reads give it.
    pub(crate) fn push(&mut self, mut node: StoredNode, observed: &dyn ObservedState) -> Index {
        let statuses = node.inputs.iter().map(|input| self.status(*input));
        let (mut open, mut stuck) = (0, 0);
        for status in statuses {
            open += u32::from(!status.is_done());
            stuck += u32::from(status.is_stuck());
        }
        (node.open, node.stuck) = (open, stuck);
        let index = self.nodes.len() as Index;
        self.nodes.push(node);
        let (key, status) = self.judge(index, observed);
        self.enter(index, key, status);
        index
    }

    /// The graph with its edges in both directions.
    pub(crate) fn linked(mut self) -> Self {
        let mut first = vec![0u32; self.nodes.len() + 1];
        for input in self.nodes.iter().flat_map(|node| &node.inputs) {
            first[*input as usize + 1] += 1;
        }
        for index in 1..first.len() {
            first[index] += first[index - 1];
        }
        let mut next = first.clone();
        let mut readers = vec![0; first.last().map_or(0, |end| *end as usize)];
        for (reader, node) in (0..).zip(&self.nodes) {
            for input in &node.inputs {
                let at = &mut next[*input as usize];
                readers[*at as usize] = reader;
                *at += 1;
            }
        }
        (self.first_reader, self.readers) = (first, readers);
        self.nodes.shrink_to_fit();
        self
    }

    fn node(&self, index: Index) -> &StoredNode {
        &self.nodes[index as usize]
    }

    fn status(&self, index: Index) -> Status {
        self.node(index).status
    }

    /// The key of a node that is done.
    pub(crate) fn done_key(&self, index: Index) -> Option<&JobKey> {
        let node = self.node(index);
        node.key.as_ref().filter(|_| node.status.is_done())
    }

    fn readers_of(&self, index: Index) -> &[Index] {
        let at = index as usize;
        &self.readers[self.first_reader[at] as usize..self.first_reader[at + 1] as usize]
    }

    fn nodes_of(&self, key: &JobKey) -> Vec<Index> {
        match self.by_key.get(key) {
            None => Vec::new(),
            Some(Nodes::One(index)) => vec![*index],
            Some(Nodes::Many(all)) => all.iter().copied().collect(),
        }
    }

    pub(crate) fn hints(&self, label: &str) -> Hints {
        Hints {
            checkpoint_every_s: None,
            sweep: Some(self.sweep.clone()),
            label: label.to_owned(),
        }
    }

    /// Numbers of jobs by state, the report not counted. A job that a sweep asks for twice counts
    /// once, as in its report; while its key is not known, it is not known to be the same.
    pub fn counts(&self) -> JobCounts {
        let mut counts = self.counts;
        for key in &self.shared {
            if let Some(Nodes::Many(all)) = self.by_key.get(key)
                && let Some(first) = all.first()
            {
                let others = all.len() as i64 - 1;
                update::add(&mut counts, self.status(*first), -others);
            }
        }
        counts
    }

    /// Whether no node but the report can still change.
    pub fn settled(&self) -> bool {
        self.counts.ready + self.counts.waiting == 0
    }

    /// Whether every node but the report is done.
    pub fn complete(&self) -> bool {
        self.counts.done == self.nodes.len() as u64
    }

    /// Where the sweep stands.
    pub fn state(&self) -> SweepState {
        match (self.complete(), self.settled()) {
            (true, _) => SweepState::Complete,
            (false, true) => SweepState::Incomplete,
            (false, false) => SweepState::Running,
        }
    }

    /// Whether a job is part of the sweep, as far as it is planned.
    pub fn contains(&self, key: &JobKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// Keys of all jobs that have one, each once, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &JobKey> {
        self.by_key.keys()
    }

    /// Keys of jobs that could run now; the report is the coordinator's own and not among them. A
    /// key may come twice.
    pub fn ready_keys(&self) -> impl Iterator<Item = &JobKey> {
        let ready = self.ready.iter();
        ready.filter_map(|index| self.node(*index).key.as_ref())
    }

    /// Keys of jobs that have become ready since this was last asked; of a graph that was just
    /// made, of all that are ready.
    pub fn take_fresh(&mut self) -> Vec<JobKey> {
        let fresh = std::mem::take(&mut self.fresh);
        let ready = fresh.into_iter().filter(|index| self.ready.contains(index));
        ready
            .filter_map(|index| self.node(index).key.clone())
            .collect()
    }

    /// Whether a job could run now.
    pub fn is_ready(&self, key: &JobKey) -> bool {
        self.nodes_of(key)
            .iter()
            .any(|index| self.ready.contains(index))
    }

    /// The kind of a job of this sweep.
    pub fn kind(&self, key: &JobKey) -> Option<Kind> {
        let index = *self.nodes_of(key).first()?;
        Some(self.node(index).kind)
    }

    /// The job with this key, where it is planned.
    pub fn job(&self, key: &JobKey, observed: &dyn ObservedState) -> Option<Job> {
        self.job_at(*self.nodes_of(key).first()?, observed)
    }

    /// Every node but the report, as a fold reads it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..).zip(&self.nodes).map(|(index, node)| Entry {
            index,
            id: &node.id,
            kind: node.kind,
            cell: node.cell.as_deref(),
            space: node.space.as_deref(),
            key: match node.kind {
                Kind::Import => self.done_key(index),
                _ => node.key.as_ref(),
            },
            done: self.done_key(index),
            condition: match (&node.recipe, &node.key) {
                (Recipe::Conditioned { condition, .. }, Some(_)) => self.done_key(*condition),
                _ => None,
            },
        })
    }

    /// The plan, with every node written out.
    pub fn plan(&self, observed: &dyn ObservedState) -> Plan {
        write_out::plan(self, observed)
    }
}

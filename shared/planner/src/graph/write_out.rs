//! A graph written out as a plan.

use super::{Graph, Index, Status, StoredNode};
use crate::{Node, ObservedState, Plan, State, Work};
use cedm_contract::{Input, Job, JobSpec, Kind, kinds::report::ReportParams};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
};

/// Kinds of job that the report is made from.
const SHOWN: [Kind; 7] = [
    Kind::Import,
    Kind::FeatureEvaluation,
    Kind::Cluster,
    Kind::Bound,
    Kind::Train,
    Kind::SampleSet,
    Kind::Score,
];

/// Whether it lists a part of a sample set: it has no number among the sets of the sweep.
fn is_part_of_set(node: &StoredNode) -> bool {
    let is_numbered = node.cell.as_ref().is_some_and(|cell| cell.set.is_some());
    node.kind == Kind::SampleSet && !is_numbered
}

/// Everything of a graph, each job with its state.
pub(super) fn plan(graph: &Graph, observed: &dyn ObservedState) -> Plan {
    let mut nodes: Vec<Node> = Vec::with_capacity(graph.nodes.len() + 1);
    let mut states = States::new(graph, observed);
    for index in 0..graph.nodes.len() as Index {
        nodes.push(node(graph, observed, index, states.of(index)));
    }
    nodes.extend(report(graph, observed));
    Plan {
        sweep: graph.sweep.clone(),
        nodes,
    }
}

fn node(graph: &Graph, observed: &dyn ObservedState, index: Index, state: State) -> Node {
    let stored = graph.node(index);
    Node {
        id: stored.id.to_string(),
        kind: stored.kind,
        cell: stored.cell.as_deref().cloned(),
        space: stored.space.as_deref().map(str::to_owned),
        job: stored
            .key
            .as_ref()
            .and_then(|_| graph.job_at(index, observed)),
        state,
        work: stored.work,
        least_bytes: stored.least_bytes as usize,
    }
}

/// Writes the states of nodes out, in the order of the graph.
pub(crate) struct States<'g> {
    graph: &'g Graph,
    observed: &'g dyn ObservedState,
    /// What causes it, of every blocked node so far: ids of dead nodes.
    causes: HashMap<Index, Rc<BTreeSet<&'g str>>>,
}

impl<'g> States<'g> {
    pub(crate) fn new(graph: &'g Graph, observed: &'g dyn ObservedState) -> Self {
        Self {
            graph,
            observed,
            causes: HashMap::new(),
        }
    }

    /// The state of a node. To be asked for every node, one after the other.
    pub(crate) fn of(&mut self, index: Index) -> State {
        let (graph, observed) = (self.graph, self.observed);
        let stored = graph.node(index);
        match stored.status {
            Status::Done { cached } => {
                let found = stored.key.as_ref().and_then(|key| observed.result(key));
                match found {
                    Some(found) => State::Done {
                        cached,
                        digest: found.digest.clone(),
                    },
                    // What is observed has changed without an update.
                    None => State::Ready,
                }
            }
            Status::Ready => State::Ready,
            Status::Dead => State::Dead {
                reason: graph.reason(index, observed),
            },
            Status::Blocked => {
                let causes = self.causes_of(stored);
                let by = causes.iter().map(|id| (*id).to_owned()).collect();
                self.causes.insert(index, causes);
                State::Blocked { by }
            }
            Status::Waiting => {
                // A shard list may name one node often; a person reads it once.
                let mut seen = HashSet::new();
                let inputs = stored.inputs.iter();
                let open =
                    inputs.filter(|input| !graph.status(**input).is_done() && seen.insert(**input));
                State::Waiting {
                    on: open
                        .map(|input| graph.node(*input).id.to_string())
                        .collect(),
                }
            }
        }
    }

    /// The roots of the trouble, not the chain: a person has to mend those.
    fn causes_of(&self, stored: &StoredNode) -> Rc<BTreeSet<&'g str>> {
        let inputs = stored.inputs.iter().copied();
        let stuck: HashSet<Index> = inputs
            .filter(|input| self.graph.status(*input).is_stuck())
            .collect();
        if let (1, Some(only)) = (stuck.len(), stuck.iter().next())
            && let Some(known) = self.causes.get(only)
        {
            return known.clone();
        }
        let mut causes = BTreeSet::new();
        for input in stuck {
            match self.causes.get(&input) {
                Some(known) => causes.extend(known.iter().copied()),
                None => {
                    causes.insert(&*self.graph.node(input).id);
                }
            }
        }
        Rc::new(causes)
    }
}

/// The report waits for every node that can still change; then its inputs are the results that it
/// shows.
fn report(graph: &Graph, observed: &dyn ObservedState) -> Option<Node> {
    if !graph.has_report {
        return None;
    }
    let job = graph.settled().then(|| report_job(graph, observed));
    let state = match &job {
        None => {
            let open = graph
                .nodes
                .iter()
                .filter(|node| matches!(node.status, Status::Ready | Status::Waiting));
            State::Waiting {
                on: open.map(|node| node.id.to_string()).collect(),
            }
        }
        Some(job) => match (observed.result(&job.key), observed.dead(&job.key)) {
            (Some(found), _) => State::Done {
                cached: found.finished_ms < graph.submitted_ms,
                digest: found.digest.clone(),
            },
            (None, Some(reason)) => State::Dead {
                reason: reason.to_owned(),
            },
            (None, None) => State::Ready,
        },
    };
    Some(Node {
        id: format!("report {}", graph.sweep),
        kind: Kind::Report,
        cell: None,
        space: None,
        job,
        state,
        work: Work::one(),
        least_bytes: 0,
    })
}

fn report_job(graph: &Graph, observed: &dyn ObservedState) -> Job {
    let shown = (0..).zip(&graph.nodes).filter(|(_, node)| {
        SHOWN.contains(&node.kind) && !is_part_of_set(node) && node.status.is_done()
    });
    let inputs = shown.filter_map(|(index, node)| {
        let key = graph.done_key(index)?;
        Some(Input {
            role: node.id.to_string(),
            key: key.clone(),
            digest: observed.result(key)?.digest.clone(),
        })
    });
    let sweep = graph.sweep.clone();
    let label = format!("report {sweep}");
    Job::new(
        JobSpec::Report(ReportParams { sweep }),
        inputs.collect(),
        graph.priority,
        graph.hints(&label),
    )
}

impl Graph {
    /// The job of the report, once no other node can still change.
    pub fn report_job(&self, observed: &dyn ObservedState) -> Option<Job> {
        (self.has_report && self.settled()).then(|| report_job(self, observed))
    }
}

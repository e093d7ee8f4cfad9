//! A graph written out as a plan.

use super::{Graph, Index, Status, StoredNode};
use crate::{Node, ObservedState, Plan, State, Work};
use cedm_contract::{Input, Job, JobSpec, Kind, kinds::report::ReportParams};
use std::collections::{BTreeSet, HashSet};

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
    for index in 0..graph.nodes.len() as Index {
        let state = state(graph, observed, index, &nodes);
        nodes.push(node(graph, observed, index, state));
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

/// The state of a node, where those before it are written out.
fn state(graph: &Graph, observed: &dyn ObservedState, index: Index, before: &[Node]) -> State {
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
            let mut roots = BTreeSet::new();
            for input in &stored.inputs {
                let node = &before[*input as usize];
                match &node.state {
                    State::Dead { .. } => {
                        roots.insert(node.id.clone());
                    }
                    // The roots of the trouble, not the chain: a person has to mend those.
                    State::Blocked { by } => roots.extend(by.iter().cloned()),
                    _ => {}
                }
            }
            State::Blocked {
                by: roots.into_iter().collect(),
            }
        }
        Status::Waiting => {
            // A shard list may name one node often; a person reads it once.
            let mut seen = HashSet::new();
            let open = stored
                .inputs
                .iter()
                .filter(|input| !graph.status(**input).is_done() && seen.insert(**input));
            State::Waiting {
                on: open
                    .map(|input| graph.node(*input).id.to_string())
                    .collect(),
            }
        }
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

//! The plan: jobs with their states.

use cedm_contract::{Digest, Job, JobKey, Kind, MAX_MESSAGE_BYTES, SweepId};
use serde::Serialize;
use std::collections::HashSet;

/// Everything that a sweep asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Name of the sweep that is planned.
    pub sweep: SweepId,
    /// Jobs; each stands after what it waits for.
    pub nodes: Vec<Node>,
}

impl Plan {
    /// Jobs that could run now, each key once; the report is the coordinator's own and not among
    /// them.
    pub fn ready(&self) -> Vec<&Job> {
        let ready = distinct(&self.nodes)
            .filter(|node| node.state == State::Ready && node.kind.is_queued());
        ready.filter_map(|node| node.job.as_ref()).collect()
    }

    /// The node of the sweep's report.
    pub fn report(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.kind == Kind::Report)
    }

    /// Whether no node but the report can still change.
    pub fn settled(&self) -> bool {
        self.nodes
            .iter()
            .all(|node| node.kind == Kind::Report || node.state.is_settled())
    }

    /// Whether every node but the report is done.
    pub fn complete(&self) -> bool {
        self.nodes
            .iter()
            .all(|node| node.kind == Kind::Report || matches!(node.state, State::Done { .. }))
    }

    /// The node with this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Every node of this job; several where the sweep asks for the same work twice.
    pub fn nodes_of<'a>(&'a self, key: &'a JobKey) -> impl Iterator<Item = &'a Node> {
        self.nodes
            .iter()
            .filter(move |node| node.job.as_ref().is_some_and(|job| job.key == *key))
    }
}

/// One job of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Its name for people, stable and unique: "train temi C=20 to 29 kimg".
    pub id: String,
    /// Kind of the job.
    pub kind: Kind,
    /// Where it belongs; `None` for nodes that all cells share.
    pub cell: Option<Cell>,
    /// Name of the evaluation feature space, for evaluation jobs.
    pub space: Option<String>,
    /// The job, once all its inputs are known.
    pub job: Option<Job>,
    /// Whether the job is done, ready, waiting, dead or blocked.
    pub state: State,
    /// The amount of work.
    pub work: Work,
    /// Bytes that its inputs take in its message; 0 for jobs that are not queued.
    #[serde(skip)]
    pub(crate) least_bytes: usize,
}

impl Node {
    /// Bytes of the job's message, as far as they are known: all of them once there is a job,
    /// before that those of its inputs. 0 for jobs that are not queued.
    pub fn message_bytes(&self) -> usize {
        match &self.job {
            _ if !self.kind.is_queued() => 0,
            Some(job) => job.message_bytes(),
            None => self.least_bytes,
        }
    }

    /// Why the job can never be queued, where that is known: no message is as large as its own.
    pub fn unsendable(&self) -> Option<String> {
        let State::Dead { reason } = &self.state else {
            return None;
        };
        (self.message_bytes() > MAX_MESSAGE_BYTES).then(|| reason.clone())
    }
}

/// Coordinates of a node in the sweep.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Cell {
    /// Name of the clustering.
    pub clustering: String,
    /// C; `None` for the unconditional network, and while the bound is not known.
    pub clusters: Option<u32>,
    /// Seed of the training, from the trainer on, where the sweep trains every network with
    /// several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Training images so far, from the trainer on.
    pub nimg: Option<u64>,
    /// Sample set, from the sampler on.
    pub set: Option<u32>,
    /// What that set is for.
    pub purpose: Purpose,
}

impl Cell {
    /// A clustering at this C, before any training.
    pub(crate) fn new(clustering: &str, clusters: Option<u32>) -> Self {
        Self {
            clustering: clustering.to_owned(),
            clusters,
            seed: None,
            nimg: None,
            set: None,
            purpose: Purpose::Evaluation,
        }
    }
}

/// What a sample set is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The set whose scores count.
    #[default]
    #[serde(rename = "judge")]
    Evaluation,
    /// As large as the sets of earlier snapshots, so that a curve along training ends on equal
    /// terms.
    Curve,
    /// Labels drawn uniformly instead of from p(c), from the seeds of the set whose scores count.
    Uniform,
}

/// The state of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The job's manifest exists.
    Done {
        /// Whether it did before the sweep was submitted.
        cached: bool,
        /// Digest of that manifest.
        digest: Digest,
    },
    /// Everything that it reads is done.
    Ready,
    /// Something that it reads is not done yet.
    Waiting {
        /// Ids of these nodes.
        on: Vec<String>,
    },
    /// It is a dead letter, or its parameters cannot be made.
    Dead {
        /// Why the job cannot be done, for people.
        reason: String,
    },
    /// Something that it reads is dead or blocked.
    Blocked {
        /// Ids of the dead nodes that cause it.
        by: Vec<String>,
    },
}

impl State {
    /// Whether its state is final until an operator intervenes.
    pub fn is_settled(&self) -> bool {
        matches!(
            self,
            State::Done { .. } | State::Dead { .. } | State::Blocked { .. }
        )
    }
}

/// These nodes, but of those that stand for one and the same job (equal clusterings, say) only the
/// first. While a key is not known, nor is it known to be the same.
pub fn distinct<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> impl Iterator<Item = &'n Node> {
    let mut seen = HashSet::new();
    nodes.into_iter().filter(move |node| {
        let key = node.job.as_ref().map(|job| &job.key);
        key.is_none_or(|key| seen.insert(key))
    })
}

/// An amount of work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Work {
    /// Amount in the given unit.
    pub amount: f64,
    /// What is counted: "images", "epochs", "kimg", "jobs".
    pub unit: &'static str,
}

impl Work {
    pub(crate) fn images(count: u64) -> Self {
        Self {
            amount: count as f64,
            unit: "images",
        }
    }
    pub(crate) fn epochs(count: u32) -> Self {
        Self {
            amount: f64::from(count),
            unit: "epochs",
        }
    }
    pub(crate) fn kimg(images: u64) -> Self {
        Self {
            amount: images as f64 / 1000.0,
            unit: "kimg",
        }
    }
    /// A short merging job.
    pub(crate) fn one() -> Self {
        Self {
            amount: 1.0,
            unit: "jobs",
        }
    }
}

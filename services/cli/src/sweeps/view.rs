//! The state of one sweep at one moment.

use cedm_contract::{JobKey, Kind};
use cedm_planner::{Node, State};
use cedm_sweep::{
    Sweep,
    outcome::{Summary, SweepOutcome, SweepState},
};
use std::collections::{BTreeMap, BTreeSet};

/// A sweep with its outcome and jobs, as read from the store.
pub struct View {
    /// The sweep as submitted.
    pub sweep: Sweep,
    /// Its results so far.
    pub outcome: SweepOutcome,
    /// Its jobs, as far as they are planned.
    pub jobs: Vec<Node>,
    /// Whether it was cancelled.
    pub cancelled: bool,
    pub(super) by_key: BTreeMap<JobKey, usize>,
}

impl View {
    fn node(&self, key: &JobKey) -> Option<&Node> {
        self.by_key.get(key).and_then(|index| self.jobs.get(*index))
    }
    /// Whether the job is part of this sweep, as far as it is planned.
    pub fn contains(&self, key: &JobKey) -> bool {
        self.by_key.contains_key(key)
    }
    /// The job's label, a name for people.
    pub fn label(&self, key: &JobKey) -> Option<&str> {
        self.node(key).map(|node| node.id.as_str())
    }
    /// The kind of a job of this sweep.
    pub fn kind(&self, key: &JobKey) -> Option<Kind> {
        self.node(key).map(|node| node.kind)
    }
    /// Labels of the jobs that must be done first; empty when all inputs exist.
    pub fn waits_for(&self, key: &JobKey) -> Vec<String> {
        match self.node(key).map(|node| &node.state) {
            Some(State::Waiting { on }) => on.clone(),
            Some(State::Blocked { by }) => by.iter().map(|id| format!("{id} (dead)")).collect(),
            _ => Vec::new(),
        }
    }
    /// Keys of all results of this sweep.
    pub fn done(&self) -> Vec<JobKey> {
        let done = self
            .jobs
            .iter()
            .filter(|node| matches!(node.state, State::Done { .. }));
        done.filter_map(|node| Some(node.job.as_ref()?.key.clone()))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
    /// The primary metric's summary among these.
    pub fn primary<'a>(&self, summary: &'a BTreeMap<String, Summary>) -> Option<&'a Summary> {
        let space = self.sweep.spec.evaluations.first()?;
        summary.get(&format!("{}/{}", space.name, space.primary))
    }
    /// The sweep's state in a few lines, with the answer when there is one.
    pub fn summary_lines(&self) -> Vec<String> {
        let (id, jobs) = (&self.sweep.id, &self.outcome.jobs);
        let total = jobs.done + jobs.ready + jobs.waiting + jobs.dead + jobs.blocked;
        let reused = if jobs.cached > 0 {
            format!(", {} of them reused", jobs.cached)
        } else {
            String::new()
        };
        let mut lines = vec![match self.outcome.state {
            SweepState::Running if self.cancelled => format!(
                "sweep {id} was cancelled: {} of {total} jobs are done{reused}",
                jobs.done
            ),
            SweepState::Running => format!(
                "sweep {id} is running: {} of {total} jobs are done{reused}",
                jobs.done
            ),
            SweepState::Complete => format!("sweep {id} is complete: {} jobs{reused}", jobs.done),
            SweepState::Incomplete => format!(
                "sweep {id} ended incomplete: {} of {total} jobs are done, {} dead, {} blocked by \
                 them; see `cedm dead list`, and `cedm dead replay JOB` once the cause is fixed",
                jobs.done, jobs.dead, jobs.blocked
            ),
        }];
        lines.extend(
            self.outcome
                .answer
                .as_ref()
                .map(|answer| answer.headline.clone()),
        );
        lines
    }
}

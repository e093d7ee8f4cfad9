//! What a sweep costs before it runs: jobs and work by kind.

use crate::{Plan, State};
use cedm_contract::Kind;
use serde::Serialize;
use std::collections::HashSet;

/// Jobs and work of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KindEstimate {
    /// Kind of the jobs that are counted.
    pub kind: Kind,
    /// Jobs in all; an upper limit while the bound is not known.
    pub jobs: u64,
    /// Of these: done, here or in an earlier sweep.
    pub done: u64,
    /// Of these: could run now.
    pub ready: u64,
    /// Work of all these jobs, in `unit`.
    pub work: f64,
    /// Work that is left.
    pub work_left: f64,
    /// What `work` and `work_left` count: "images", "epochs", "kimg", "jobs".
    pub unit: &'static str,
}

/// The plan by kind, in the order of the pipeline; work that two cells share counts once.
pub fn estimate(plan: &Plan) -> Vec<KindEstimate> {
    let mut seen = HashSet::new();
    let mut rows: Vec<KindEstimate> = Vec::new();
    for node in &plan.nodes {
        if node
            .job
            .as_ref()
            // Two cells that share a job (equal clusterings, say) pay for it once.
            .is_some_and(|job| !seen.insert(&job.key))
        {
            continue;
        }
        let row = match rows.iter_mut().find(|row| row.kind == node.kind) {
            Some(row) => row,
            None => {
                rows.push(KindEstimate {
                    kind: node.kind,
                    jobs: 0,
                    done: 0,
                    ready: 0,
                    work: 0.0,
                    work_left: 0.0,
                    unit: node.work.unit,
                });
                rows.last_mut().expect("invariant: a row was just pushed")
            }
        };
        row.jobs += 1;
        row.work += node.work.amount;
        match node.state {
            State::Done { .. } => row.done += 1,
            State::Ready => row.ready += 1,
            _ => {}
        }
        if !matches!(node.state, State::Done { .. }) {
            row.work_left += node.work.amount;
        }
    }
    rows.sort_by_key(|row| row.kind);
    rows
}

//! What a sweep costs before it runs: jobs and work by kind, within limits as long as a bound
//! search has not ended.

mod searches;

use crate::{Plan, State, distinct};
use cedm_contract::Kind;
use cedm_sweep::SweepSpec;
use searches::Unplanned;
use serde::Serialize;

/// Jobs and work of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KindEstimate {
    /// Kind of the jobs that are counted.
    pub kind: Kind,
    /// Jobs in all; while a bound is not known, as many as are to be expected.
    pub jobs: u64,
    /// Jobs in all, and work left, if every bound search ends at once without a C that passes.
    pub least: Amount,
    /// The same if every bound search tries as many C as it can.
    pub most: Amount,
    /// Of these: done, here or in an earlier sweep.
    pub done: u64,
    /// Of these: could run now.
    pub ready: u64,
    /// Work of all these jobs, in `unit`; expected as `jobs`.
    pub work: f64,
    /// Work that is left.
    pub work_left: f64,
    /// What `work` and `work_left` count: "images", "epochs", "kimg", "jobs".
    pub unit: &'static str,
}

/// A number of jobs, and their work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Amount {
    /// Jobs in all.
    pub jobs: u64,
    /// Work that is left, in the row's unit.
    pub work_left: f64,
}

/// The plan of a sweep on so many images by kind, in the order of the pipeline; work that two cells
/// share counts once.
pub fn estimate(plan: &Plan, spec: &SweepSpec, images: u64) -> Vec<KindEstimate> {
    let mut rows = planned(plan);
    let unplanned = Unplanned::of(plan, spec, images);
    for row in &mut rows {
        let now = Amount {
            jobs: row.jobs,
            work_left: row.work_left,
        };
        let (expected, most) = unplanned.further(row.kind);
        // Networks whose C is not known come only if some C passes.
        let left_out = unplanned.placeholders(row.kind);
        row.least = Amount {
            jobs: now.jobs - left_out.jobs,
            work_left: now.work_left - left_out.work_left,
        };
        row.most = Amount {
            jobs: now.jobs + most.jobs,
            work_left: now.work_left + most.work_left,
        };
        row.jobs += expected.jobs;
        row.work += expected.work_left;
        row.work_left += expected.work_left;
    }
    rows
}

/// What the plan has by now.
fn planned(plan: &Plan) -> Vec<KindEstimate> {
    let mut rows: Vec<KindEstimate> = Vec::new();
    for node in distinct(&plan.nodes) {
        let row = match rows.iter_mut().find(|row| row.kind == node.kind) {
            Some(row) => row,
            None => {
                rows.push(KindEstimate {
                    kind: node.kind,
                    jobs: 0,
                    least: Amount::default(),
                    most: Amount::default(),
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

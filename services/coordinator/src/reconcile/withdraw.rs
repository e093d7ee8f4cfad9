//! Withdrawal: the queued jobs of a sweep that ended or was paused are taken out of the queue.

use super::Coordinator;
use cedm_contract::{JobKey, SweepId};
use cedm_planner::{Plan, plan};
use cedm_runtime::workers;
use cedm_sweep::{Sweep, lifecycle::Marks};
use std::collections::BTreeSet;

impl Coordinator {
    /// Remembers whether a sweep is paused. Returns whether it was paused just now.
    pub(super) fn note_pause(&mut self, id: &SweepId, marks: Marks) -> bool {
        if !marks.is_active() || !marks.paused {
            if self.paused.remove(id) {
                tracing::info!(sweep = %id, "sweep resumed");
            }
            return false;
        }
        let is_new = self.paused.insert(id.clone());
        if is_new {
            tracing::info!(sweep = %id, "sweep paused");
        }
        is_new
    }

    /// Removes the queued jobs of paused sweeps, except those that a running sweep needs.
    pub(super) async fn withdraw_paused(&mut self) -> anyhow::Result<()> {
        let paused = self.paused.iter().filter_map(|id| self.sweeps.get(id));
        let paused: Vec<Sweep> = paused.cloned().collect();
        if paused.is_empty() || self.queued.is_empty() {
            return Ok(());
        }
        // What runs goes on, and keeps its message: a crash would else lose the work.
        let workers = workers(self.connection()).await?;
        let running = workers.into_iter().filter_map(|worker| worker.job);
        let running: BTreeSet<JobKey> = running.collect();
        for sweep in &paused {
            self.withdraw(sweep, &running).await?;
        }
        Ok(())
    }

    /// Removes the queued jobs of a sweep of which none is to be started, except those that a
    /// running sweep needs and those in `spared`. `cedm cancel` and `cedm pause` do the same; this
    /// finds jobs that were submitted at that very moment.
    pub(super) async fn withdraw(
        &mut self,
        sweep: &Sweep,
        spared: &BTreeSet<JobKey>,
    ) -> anyhow::Result<()> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let running = self
            .sweeps
            .iter()
            .filter(|(id, other)| !self.paused.contains(*id) && other.id != sweep.id);
        let plans: Vec<Plan> = running.map(|(_, other)| plan(other, &self.known)).collect();
        let needed = |key: &JobKey| plans.iter().any(|plan| plan.nodes_of(key).next().is_some());
        for job in plan(sweep, &self.known).ready() {
            let is_queued = self.queued.contains(&job.key) && !spared.contains(&job.key);
            if is_queued && !needed(&job.key) {
                self.submitter.cancel(job.kind(), &job.key).await?;
                self.queued.remove(&job.key);
            }
        }
        Ok(())
    }
}

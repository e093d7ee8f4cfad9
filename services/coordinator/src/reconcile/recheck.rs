//! Results that have disappeared: they are dropped from the cache, so that the next plan makes them
//! again.

use super::{CONCURRENCY, Coordinator, while_alive};
use cedm_contract::{Job, JobKey, Kind, ObjectRef};
use cedm_planner::{ObservedState, Plan};
use cedm_runtime::{RuntimeError, chain, objects_of};
use cedm_sweep::Sweep;
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeSet;

impl Coordinator {
    /// Looks into the results that workers say do not verify; those that are gone now are
    /// forgotten, so that they are made again. A failure here must not stop the sweeps: the notices
    /// stay.
    pub(super) async fn settle_notices(&mut self) {
        let settled = self.submitter.settle_notices();
        match while_alive(self.process.health(), settled).await {
            Ok(gone) => {
                for key in gone {
                    tracing::warn!(job = %key, "a worker reported an invalid result, confirmed: running the job again");
                    self.known.remove(&key);
                    self.queued.remove(&key);
                }
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "notices of workers cannot be settled now");
            }
        }
    }

    /// Last check before a sweep ends: forgets every result that is no longer in the store, even
    /// when no remaining job would read it. Returns whether there was one.
    pub(super) async fn forget_lost_results(&mut self, plan: &Plan) -> anyhow::Result<bool> {
        let jobs = plan
            .nodes
            .iter()
            .filter(|node| node.kind.is_queued())
            .filter_map(|node| node.job.as_ref());
        let keys: BTreeSet<JobKey> = jobs.map(|job| job.key.clone()).collect();
        let submitter = &self.submitter;
        let lookups = futures::stream::iter(keys)
            .map(|key| async move {
                Ok::<_, RuntimeError>((submitter.manifest(&key).await?.is_none(), key))
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<(bool, JobKey)>>();
        let found = while_alive(self.process.health(), lookups).await?;
        let mut any_lost = false;
        for (_, key) in found.into_iter().filter(|(is_lost, _)| *is_lost) {
            tracing::warn!(sweep = %plan.sweep, job = %key, "result lost before the end of its sweep; running the job again");
            self.known.remove(&key);
            self.queued.remove(&key);
            any_lost = true;
        }
        Ok(any_lost)
    }

    /// Discards the results that name objects which the report could not read as they should be, so
    /// that their jobs are done again: that of the job which made an object, and those that list
    /// it, as a sample set does its shards. A result that verifies at the second look stays.
    pub(super) async fn discard_results_of(
        &mut self,
        plan: &Plan,
        sweep: &Sweep,
        objects: &[ObjectRef],
    ) -> anyhow::Result<()> {
        let planned = plan.nodes.iter().filter_map(|node| node.job.as_ref());
        let keys: BTreeSet<&JobKey> = planned
            .map(|job| &job.key)
            .chain(sweep.image_sets())
            .collect();
        let manifests = keys.into_iter().filter_map(|key| self.known.manifest(key));
        let named: Vec<(JobKey, Kind)> = manifests
            .filter(|manifest| {
                let named = objects_of(manifest);
                objects.iter().any(|object| named.contains(&object))
            })
            .map(|manifest| (manifest.key.clone(), manifest.kind()))
            .collect();
        let submitter = self.submitter.afresh();
        for (key, kind) in named {
            let found = submitter.manifest_or_discard(kind, &key);
            if while_alive(self.process.health(), found).await?.is_none() {
                tracing::warn!(sweep = %plan.sweep, job = %key, %kind, "result damaged before the end of its sweep; running the job again");
                self.known.remove(&key);
                self.queued.remove(&key);
            }
        }
        Ok(())
    }

    /// Checks the inputs of the plan's suspect jobs. An input that is missing is forgotten, so that
    /// it is made again; one that was made again is read. Returns whether the cache changed.
    pub(super) async fn recheck_inputs(&mut self, plan: &Plan) -> anyhow::Result<bool> {
        let jobs = plan.nodes.iter().filter_map(|node| node.job.as_ref());
        let suspects: Vec<Job> = jobs
            .filter(|job| self.suspect.contains(&job.key))
            .cloned()
            .collect();
        let mut changed = false;
        for input in suspects.iter().flat_map(|job| &job.inputs) {
            match self.submitter.manifest(&input.key).await? {
                Some(manifest) if manifest.digest == input.digest => {}
                Some(manifest) => {
                    self.known.record(manifest);
                    changed = true;
                }
                None => {
                    tracing::warn!(input = %input.key, role = input.role, "input of a failed job is lost; running its job again");
                    self.known.remove(&input.key);
                    self.queued.remove(&input.key);
                    changed = true;
                }
            }
        }
        if changed {
            // With new inputs these jobs have new keys, or the same key to be queued again.
            self.queued
                .retain(|key| !suspects.iter().any(|job| job.key == *key));
        }
        Ok(changed)
    }
}

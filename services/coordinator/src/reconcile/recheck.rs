//! Results that have disappeared: they are dropped from the cache, so that the next plan makes them
//! again.

use super::{CONCURRENCY, Coordinator, while_alive};
use cedm_contract::{Job, JobKey, Kind, Manifest, ObjectRef, SweepId};
use cedm_planner::{Observed, ObservedState};
use cedm_runtime::{RuntimeError, chain, objects_of};
use cedm_sweep::Sweep;
use futures::{StreamExt, TryStreamExt};
use std::{collections::HashSet, sync::Arc};

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
                    self.forget(&key);
                }
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "notices of workers cannot be settled now");
            }
        }
    }

    /// Reads the manifests of a sweep: the plan knows their digests alone. `None` where a result is no
    /// longer in the store; such results are forgotten, so that they are made again.
    pub(super) async fn read_results(
        &mut self,
        id: &SweepId,
    ) -> anyhow::Result<Option<Arc<Observed>>> {
        let Some(active) = self.sweeps.get(id) else {
            return Ok(None);
        };
        // Images are what was submitted: nobody could make them again.
        let is_made = |key: &&JobKey| active.graph.kind(key).is_some_and(Kind::is_queued);
        let keys: HashSet<JobKey> = active.graph.done_keys().filter(is_made).cloned().collect();
        let imports = std::iter::once(&active.sweep.images).chain(&active.sweep.test_images);
        let imports = imports.filter_map(|key| self.known.manifest(key));
        let mut results = Observed::default();
        imports.for_each(|manifest| results.record(manifest.clone()));
        let submitter = &self.submitter;
        let lookups = futures::stream::iter(keys)
            .map(|key| async move { Ok::<_, RuntimeError>((submitter.manifest(&key).await?, key)) })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<(Option<Manifest>, JobKey)>>();
        let found = while_alive(self.process.health(), lookups).await?;
        let mut any_lost = false;
        for (manifest, key) in found {
            if let Some(manifest) = manifest {
                let known = self.known.result(&key);
                if known.is_some_and(|known| *known.digest == manifest.digest) {
                    results.record(manifest);
                } else {
                    // Made again meanwhile, with other bytes: what was made from it is another job now.
                    self.known.record(manifest);
                    self.changed(&key);
                    any_lost = true;
                }
                continue;
            }
            tracing::warn!(sweep = %id, job = %key, "result lost before the end of its sweep; running the job again");
            self.forget(&key);
            any_lost = true;
        }
        for (key, reason) in self.known.dead_jobs() {
            results.record_dead(key.clone(), reason);
        }
        Ok((!any_lost).then(|| Arc::new(results)))
    }

    /// Discards the results that name objects which the report could not read as they should be, so
    /// that their jobs are done again: that of the job which made an object, and those that list it,
    /// as a sample set does its shards. A result that verifies at the second look stays.
    pub(super) async fn discard_results_of(
        &mut self,
        sweep: &Sweep,
        results: &Observed,
        objects: &[ObjectRef],
    ) -> anyhow::Result<()> {
        let objects: HashSet<&ObjectRef> = objects.iter().collect();
        let named: Vec<(JobKey, Kind)> = results
            .manifests()
            .filter(|manifest| {
                let named = objects_of(manifest);
                named.iter().any(|object| objects.contains(object))
            })
            .map(|manifest| (manifest.key.clone(), manifest.kind()))
            .collect();
        let submitter = self.submitter.afresh();
        for (key, kind) in named {
            let found = submitter.manifest_or_discard(kind, &key);
            if while_alive(self.process.health(), found).await?.is_none() {
                tracing::warn!(sweep = %sweep.id, job = %key, %kind, "result damaged before the end of its sweep; running the job again");
                self.forget(&key);
            }
        }
        Ok(())
    }

    /// Checks the inputs of a sweep's suspect jobs. An input that is missing is forgotten, so that it is
    /// made again; one that was made again is read.
    pub(super) async fn recheck_inputs(&mut self, id: &SweepId) -> anyhow::Result<()> {
        let Some(active) = self.sweeps.get(id) else {
            return Ok(());
        };
        let suspects = self.suspect.iter();
        let suspects: Vec<Job> = suspects
            .filter_map(|key| active.graph.job(key, &self.known))
            .collect();
        let mut any_changed = false;
        for input in suspects.iter().flat_map(|job| &job.inputs) {
            match self.submitter.manifest(&input.key).await? {
                Some(manifest) if manifest.digest == input.digest => {}
                Some(manifest) => {
                    self.known.record(manifest);
                    self.changed(&input.key);
                    any_changed = true;
                }
                None => {
                    tracing::warn!(input = %input.key, role = input.role, "input of a failed job is lost; running its job again");
                    self.forget(&input.key);
                    any_changed = true;
                }
            }
        }
        if any_changed {
            // With new inputs these jobs have new keys, or the same key to be queued again.
            for job in suspects {
                self.queued.remove(&job.key);
                self.changed(&job.key);
            }
        }
        Ok(())
    }
}

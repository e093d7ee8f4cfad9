//! The bound job: manifests of the probes in, one step of the search out. It takes microseconds and
//! never waits for a probe.

use crate::search::{self, Observation};
use anyhow::anyhow;
use cedm_contract::{BoundDecision, JobResult, JobSpec, Service};
use cedm_runtime::{JobContext, JobError, Outcome, Worker};
use std::collections::BTreeMap;

/// Performs [`cedm_contract::Kind::Bound`] jobs.
#[derive(Debug, Default)]
pub struct BoundsWorker;

impl Worker for BoundsWorker {
    fn service(&self) -> Service {
        Service::Bounds
    }

    fn device(&self) -> String {
        "cpu".to_owned()
    }

    fn perform(&mut self, context: &JobContext) -> Result<Outcome, JobError> {
        let JobSpec::Bound(params) = &context.job().spec else {
            return Err(JobError::bug(anyhow!(
                "the bounds service performs bound jobs, this is a {} job",
                context.job().kind()
            )));
        };
        let images = match &context.input("images")?.result {
            JobResult::Import(set) => set.count,
            other => {
                return Err(JobError::reject(anyhow!(
                    "input `images` is {other:?}, expected an image set"
                )));
            }
        };
        let mut used: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (role, manifest) in context.inputs("probe/") {
            let JobResult::Cluster(cluster) = &manifest.result else {
                return Err(JobError::reject(anyhow!(
                    "input `{role}` is a {} result, expected a clustering",
                    manifest.kind()
                )));
            };
            used.entry(cluster.clusters).or_default().push(cluster.used);
        }
        let history: Vec<Observation> = used
            .into_iter()
            .map(|(clusters, used)| Observation { clusters, used })
            .collect();
        let result = search::next(&history, params, images).map_err(JobError::reject)?;
        match &result.decision {
            BoundDecision::Probe { clusters } => {
                tracing::info!(probes = result.probes.len(), next = ?clusters, "bound search continues")
            }
            BoundDecision::Found { c_max, reason } => {
                tracing::info!(probes = result.probes.len(), ?c_max, %reason, "bound found")
            }
        }
        Ok(Outcome {
            result: JobResult::Bound(result),
            metrics: BTreeMap::new(),
        })
    }
}

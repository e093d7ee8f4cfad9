//! The `bound` job: reads the results of the probes so far and decides the next step of the search.
//! It takes microseconds and never waits for a probe.

use crate::search::{self, Observation};
use cedm_contract::{
    JobResult, JobSpec, Service,
    kinds::{
        bound::{BoundDecision, BoundInputs, BoundParams},
        cluster::ClusterParams,
        import::ImportParams,
    },
};
use cedm_runtime::{ComputeDevice, JobContext, JobError, Outcome, Worker};
use std::collections::BTreeMap;

/// Performs `bound` jobs; has no state.
#[derive(Debug, Default)]
pub struct BoundsWorker;

impl Worker for BoundsWorker {
    fn service(&self) -> Service {
        Service::Bounds
    }

    fn device(&self) -> ComputeDevice {
        ComputeDevice::cpu_only()
    }

    fn perform(&mut self, context: &JobContext) -> Result<Outcome, JobError> {
        let JobSpec::Bound(params) = &context.job().spec else {
            return Err(JobError::wrong_kind(Service::Bounds, context.job().kind()));
        };
        let BoundInputs { images, probes } = context.inputs::<BoundParams>()?;
        let (_, images) = images
            .as_kind::<ImportParams>()
            .map_err(JobError::contract)?;
        let mut used: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for probe in probes.into_values() {
            let (_, cluster) = probe
                .as_kind::<ClusterParams>()
                .map_err(JobError::contract)?;
            used.entry(cluster.clusters).or_default().push(cluster.used);
        }
        let history: Vec<Observation> = used
            .into_iter()
            .map(|(clusters, used)| Observation { clusters, used })
            .collect();
        let result = search::next(&history, params, images.count)?;
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

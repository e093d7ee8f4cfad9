//! The bounds recipe: probes in, decision out.

use crate::{Observation, next};
use anyhow::{Context, anyhow, bail};
use cedm_contract::{BoundDecision, JobResult, JobSpec, Service};
use cedm_runtime::{Desk, JobError, Outcome, Worker};
use std::collections::BTreeMap;

/// The bounds service.
pub struct Bounds;

impl Worker for Bounds {
    fn service(&self) -> Service {
        Service::Bounds
    }
    fn device(&self) -> String {
        "cpu".to_owned()
    }
    fn counters(&self) -> Vec<(&'static str, &'static str)> {
        vec![("cedm_bound_steps_total", "Steps of bound searches"), ("cedm_bound_found_total", "Bound searches that came to an end")]
    }
    fn perform(&mut self, desk: &Desk) -> Result<Outcome, JobError> {
        let JobSpec::Bound(params) = &desk.job().spec else {
            return Err(JobError::bug(anyhow!("a {} job came to the bounds service", desk.job().kind())));
        };
        let mut history = Vec::new();
        let mut images = u64::MAX;
        for (role, manifest) in desk.inputs("probe/") {
            let JobResult::Cluster(result) = &manifest.result else {
                return Err(JobError::reject(anyhow!("input {role} is a {} manifest: expected cluster", manifest.kind())));
            };
            let (clusters, seed) = parse_role(role).map_err(JobError::reject)?;
            if clusters != result.clusters {
                return Err(JobError::reject(anyhow!("input {role} has {} clusters", result.clusters)));
            }
            history.push(Observation { clusters, seed, used: result.used });
            images = images.min(result.count);
        }
        let result = next(&history, params, images);
        cedm_runtime::Monitor::count(desk, "cedm_bound_steps_total", 1);
        if matches!(result.decision, BoundDecision::Found { .. }) {
            cedm_runtime::Monitor::count(desk, "cedm_bound_found_total", 1);
        }
        tracing::info!(probes = result.probes.len(), decision = ?result.decision, "bound step");
        Ok(Outcome { result: JobResult::Bound(result), metrics: BTreeMap::new() })
    }
}

/// C and seed of `probe/<C>/<seed>`.
fn parse_role(role: &str) -> anyhow::Result<(u32, u64)> {
    let mut parts = role.split('/');
    let (Some("probe"), Some(clusters), Some(seed), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        bail!("input role `{role}` is malformed: expected probe/<C>/<seed>");
    };
    Ok((clusters.parse().with_context(|| format!("C in `{role}`"))?, seed.parse().with_context(|| format!("seed in `{role}`"))?))
}

#[cfg(test)]
mod tests {
    use super::parse_role;

    #[test]
    fn roles_name_clusters_and_seed() {
        assert_eq!(parse_role("probe/400/1").unwrap(), (400, 1));
        for bad in ["probe/400", "probe/x/1", "probe/4/1/2", "features", ""] {
            assert!(parse_role(bad).is_err(), "{bad}");
        }
    }
}

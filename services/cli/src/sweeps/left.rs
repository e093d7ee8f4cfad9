//! How long a sweep will take, for people.

use super::View;
use crate::render;
use anyhow::Result;
use cedm_contract::Service;
use cedm_planner::{TimeLeft, pace, time_left};
use cedm_runtime::{Connection, workers};
use std::collections::BTreeMap;

impl View {
    /// The time that is left with the workers that run now; `None` before anything is measured, and
    /// for a sweep that does not run.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn time_left(&self, connection: &Connection) -> Result<Option<TimeLeft>> {
        if self.phase() != cedm_sweep::lifecycle::Phase::Running {
            return Ok(None);
        }
        let mut processes: BTreeMap<Service, u64> = BTreeMap::new();
        for worker in workers(connection).await? {
            let service = Service::RUNNING
                .iter()
                .find(|service| service.name() == worker.service);
            if let Some(service) = service {
                *processes.entry(*service).or_default() += 1;
            }
        }
        Ok(time_left(
            &pace(&self.jobs, &self.outcome.lineage),
            &processes,
        ))
    }
}

/// `3 min 10 s to 5 min 02 s left, not counting score (none is done yet)`.
pub fn sentence(left: &TimeLeft) -> String {
    let (least, most) = (render::duration(left.least), render::duration(left.most));
    let mut text = if left.most.is_zero() {
        "time left unknown".to_owned()
    } else if least == most {
        format!("{most} left")
    } else {
        format!("{least} to {most} left")
    };
    if !left.unmeasured.is_empty() {
        let kinds: Vec<&str> = left.unmeasured.iter().map(|kind| kind.token()).collect();
        text.push_str(&format!(
            ", not counting {} (none is done yet)",
            kinds.join(", ")
        ));
    }
    if !left.absent.is_empty() {
        let names: Vec<&str> = left.absent.iter().map(|service| service.name()).collect();
        text.push_str(&format!("; no {} is running", names.join(", ")));
    }
    text
}

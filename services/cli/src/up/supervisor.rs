//! The supervisor's own run: start infrastructure, then services, wait for a request to stop, then
//! stop in the reverse order.

use super::{
    INFRASTRUCTURE_READY_TIMEOUT, SERVICES_READY_TIMEOUT, UpRequest,
    endpoints::Endpoints,
    health::{self, Probe},
    ports::Ports,
    process_specs,
    process_table::ProcessTable,
    stop_leftovers,
    stop_signals::StopSignals,
    supervise::{ProcessSpec, ShutdownStage, supervise},
};
use crate::home::{Home, Phase};
use anyhow::Result;
use std::{rc::Rc, time::Duration};
use tokio::{sync::watch, task::JoinSet};

/// Runs a system until it is asked to stop. The caller holds the home's lock.
pub(super) async fn run(
    home: &Home,
    request: &UpRequest,
    exit_with_parent: bool,
    ready: impl FnOnce(&Endpoints) -> Result<()>,
) -> Result<()> {
    // Whatever the mode of the folder: what the system writes is for its owner alone. The processes
    // that it starts inherit this.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let mut stop = StopSignals::listen(exit_with_parent)?;
    let previous = home.state()?.unwrap_or_default();
    let leftovers = stop_leftovers(home)?;
    let mut ports = Ports::default();
    let endpoints = Endpoints::renew(home.endpoints()?, &mut ports, request.prometheus)?;
    let infrastructure = vec![
        process_specs::nats(home, &endpoints)?,
        process_specs::store(home, &endpoints)?,
    ];
    let services =
        process_specs::services(home, &endpoints, request, &mut ports, &previous.children)?;
    let prometheus = endpoints
        .prometheus_port
        .map(|port| process_specs::prometheus(home, port, &services))
        .transpose()?;
    home.save_endpoints(&endpoints)?;
    let process_table = Rc::new(ProcessTable::new(home.clone())?);
    if leftovers > 0 {
        process_table.log(&format!(
            "stopped {leftovers} processes of a supervisor that was killed"
        ));
    }
    let (stage, stages) = watch::channel(ShutdownStage::Running);
    let mut children = Children {
        home,
        process_table: process_table.clone(),
        stages,
        services: JoinSet::new(),
        infrastructure: JoinSet::new(),
    };

    let start = async {
        children
            .start(infrastructure, INFRASTRUCTURE_READY_TIMEOUT)
            .await?;
        children.start(services, SERVICES_READY_TIMEOUT).await?;
        children
            .start(
                prometheus.into_iter().collect(),
                INFRASTRUCTURE_READY_TIMEOUT,
            )
            .await?;
        process_table.set_phase(Phase::Ready);
        ready(&endpoints)
    };
    let started = tokio::select! {
        started = start => started.map(|()| true),
        () = stop.received() => Ok(false),
    };
    if matches!(started, Ok(true)) {
        stop.received().await;
    }
    process_table.set_phase(Phase::Stopping);
    process_table
        .log("stopping; workers finish or write a checkpoint (repeat the signal to stop now)");
    let orderly = async {
        stage.send_replace(ShutdownStage::StopServices);
        while children.services.join_next().await.is_some() {}
        stage.send_replace(ShutdownStage::StopInfrastructure);
        while children.infrastructure.join_next().await.is_some() {}
    };
    tokio::select! {
        () = orderly => {}
        () = stop.received() => {}
    }
    stop_leftovers(home)?; // after a second signal: children that still run
    home.remove_state()?;
    started.map(|_| ())
}

/// The supervised children, by the stage at which they stop.
struct Children<'a> {
    home: &'a Home,
    process_table: Rc<ProcessTable>,
    stages: watch::Receiver<ShutdownStage>,
    services: JoinSet<Result<()>>,
    infrastructure: JoinSet<Result<()>>,
}

impl Children<'_> {
    /// Starts these processes and waits until all of them are ready.
    async fn start(
        &mut self,
        processes: Vec<(ProcessSpec, Probe)>,
        timeout: Duration,
    ) -> Result<()> {
        let mut probes = Vec::new();
        for (spec, probe) in processes {
            let tasks = if spec.stops_at == ShutdownStage::StopServices {
                &mut self.services
            } else {
                &mut self.infrastructure
            };
            tasks.spawn_local(supervise(
                spec,
                self.home.logs(),
                self.process_table.clone(),
                self.stages.clone(),
            ));
            probes.push(probe);
        }
        health::all_ready(&probes, &self.process_table, &self.home.logs(), timeout).await
    }
}

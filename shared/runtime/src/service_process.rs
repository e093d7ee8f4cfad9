//! What surrounds the main loop of every long-running process: logs, connections, metrics, health,
//! drain, heartbeats.

use crate::{
    ComputeDevice, Connection, Health, Metrics, RuntimeError, ServeArgs, bucket,
    bucket::Bucket,
    clock,
    drain::{Drain, exit_with_parent},
    lifecycle::{self, STEP_TIME, unless_drained},
    metrics::process::{DEVICE, HEARTBEAT_FAILURES},
    now_ms,
    progress::ProgressTable,
    store::{Metered, Store},
    store_watch::StoreWatch,
    telemetry::start_logging,
    worker_name,
};
use cedm_contract::{Heartbeat, Kind, Service};
use std::{sync::Arc, time::Duration};

/// A running process: the coordinator holds one directly, workers through [`crate::serve`].
#[derive(Clone)]
pub struct ServiceProcess {
    pub(crate) connection: Connection,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) drain: Drain,
    pub(crate) progress_table: Arc<ProgressTable>,
    pub(crate) store_watch: Arc<StoreWatch>,
    pub(crate) address: String,
    service: Service,
    /// Where its jobs are computed, if it has any.
    device: Option<ComputeDevice>,
    grace: Duration,
}

impl ServiceProcess {
    /// Runs a service that pulls no jobs until `main` returns, which it has to do soon after
    /// SIGTERM or SIGINT have begun the drain: logs, connections, endpoints and signal handlers are
    /// there when it is called. With `bootstrap` the process creates the streams and says which
    /// store is the right one, else it waits for the streams. The store is probed.
    ///
    /// # Errors
    /// When NATS or the store cannot be reached in time, or are not what the protocol needs; those
    /// of `main`.
    pub fn run(
        args: &ServeArgs,
        service: Service,
        kinds: &[Kind],
        bootstrap: bool,
        main: impl AsyncFnOnce(&Self) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        start_logging(args.log, service.name());
        if args.exit_with_parent {
            exit_with_parent();
        }
        lifecycle::run(args.grace_s, async |drain| {
            let start = Self::with_drain(args, service, kinds, bootstrap, drain.clone(), None);
            let Some(process) = unless_drained(&drain, start).await? else {
                return Ok(());
            };
            main(&process).await?;
            process.stop().await;
            process.store_watch.refusal().map_or(Ok(()), Err)
        })
    }

    /// Starts a process, with the device of its jobs if it performs any. Without signals and logs:
    /// the drain is the caller's.
    pub(crate) async fn with_drain(
        args: &ServeArgs,
        service: Service,
        kinds: &[Kind],
        bootstrap: bool,
        drain: Drain,
        device: Option<ComputeDevice>,
    ) -> Result<Self, RuntimeError> {
        let metrics = Metrics::new(service.name(), kinds)?;
        if let Some(device) = &device {
            metrics.set_at(&DEVICE, [&device.name, &device.reason], 1.0);
        }
        let mut connection = Connection::open(&args.connect, service.name()).await?;
        let measured: Arc<dyn Store> =
            Arc::new(Metered::new(connection.store.clone(), metrics.clone()));
        connection.store = measured;
        let progress_table = Arc::<ProgressTable>::default();
        let health = Health::new(
            metrics.clone(),
            connection.clone(),
            drain.clone(),
            progress_table.clone(),
        );
        let address = health.serve(args.listen).await?;
        tracing::info!(worker = worker_name(), metrics = %format!("http://{address}/metrics"), version = crate::VERSION, "started");
        let store_watch =
            StoreWatch::new(connection.clone(), health.clone(), drain.clone(), bootstrap);
        let process = Self {
            connection,
            metrics,
            health,
            drain,
            progress_table,
            store_watch: Arc::new(store_watch),
            address: format!("http://{address}/metrics"),
            service,
            device,
            grace: args.grace_s,
        };
        if bootstrap {
            process.connection.ensure_streams_in_time().await?;
            tokio::spawn(process.connection.clone().keep_streams());
        } else {
            process.connection.await_streams().await?;
        }
        process.connection.probe_store().await?;
        process.store_watch.check().await?;
        process.health.passed_probe();
        process.health.tick();
        tokio::spawn(process.clone().send_heartbeats());
        tokio::spawn(clock::watch(
            process.connection.clone(),
            process.metrics.clone(),
        ));
        let store_watch = process.store_watch.clone();
        tokio::spawn(async move { store_watch.watch().await });
        Ok(process)
    }

    /// The process's connection to queue and store.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
    /// The metrics, to register a service's own.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
    /// The health; the main loop has to call its [`Health::tick`].
    pub fn health(&self) -> &Health {
        &self.health
    }
    /// The drain: when it has begun, the main loop ends.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Returns when the drain has begun and its grace period is over.
    pub async fn grace_over(&self) {
        self.drain.begun().await;
        tokio::time::sleep(self.grace).await;
    }

    /// Ends the process's presence: removes its heartbeat and flushes what is buffered. Gives up
    /// soon where the broker does not answer.
    pub(crate) async fn stop(&self) {
        let leave = async {
            if let Ok(bucket) = Bucket::open(&self.connection, bucket::WORKERS).await {
                // Otherwise it expires.
                let _ = bucket.remove(&worker_name()).await;
            }
            self.connection.flush().await;
        };
        if tokio::time::timeout(STEP_TIME, leave).await.is_err() {
            tracing::warn!("NATS does not answer: the heartbeat was not removed, it expires");
        }
    }

    /// Sends heartbeats: every five seconds, and every second while the current job advances.
    async fn send_heartbeats(self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        // The first one is sent at once, so that a ready worker shows.
        let (mut bucket, mut last, mut silent) = (None, None, 5);
        while !self.drain.has_begun() || self.progress_table.read().is_some() {
            tick.tick().await;
            let progress = self.progress_table.read();
            silent += 1;
            if silent < 5 && last == progress {
                continue;
            }
            if bucket.is_none() {
                bucket = Bucket::open(&self.connection, bucket::WORKERS).await.ok();
            }
            let heartbeat = self.heartbeat();
            let bytes =
                rmp_serde::to_vec_named(&heartbeat).expect("invariant: plain data always encodes");
            let sent = match &bucket {
                Some(bucket) => bucket.put(&heartbeat.worker, bytes).await.is_ok(),
                None => false,
            };
            if sent {
                (last, silent) = (progress, 0);
                self.health.sent_heartbeat();
            } else {
                self.metrics.add(&HEARTBEAT_FAILURES, 1);
                bucket = None;
            }
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let progress = self.progress_table.read();
        let (progress, device) = (progress.as_ref(), self.device.as_ref());
        Heartbeat {
            worker: worker_name(),
            service: self.service.name().to_owned(),
            host: crate::host_name(),
            pid: std::process::id(),
            job: progress.map(|progress| progress.key.clone()),
            kind: progress.map(|progress| progress.kind),
            done: progress.map_or(0, |progress| progress.done),
            total: progress.map_or(0, |progress| progress.total),
            unit: progress.map_or(String::new(), |progress| progress.unit.to_owned()),
            since_ms: progress.map_or(now_ms(), |progress| progress.since_ms),
            version: crate::VERSION.to_owned(),
            metrics: self.address.clone(),
            clock_skew_ms: clock::skew_ms(),
            device: device.map_or(String::new(), |device| device.name.clone()),
            device_reason: device.map_or(String::new(), |device| device.reason.clone()),
            resident_bytes: Some(crate::resident_bytes()),
        }
    }
}

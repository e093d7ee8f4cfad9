//! What surrounds the main loop of every long-running process: logs, connections, metrics, health,
//! drain, heartbeats.

use crate::{
    Connection, Health, Metrics, RuntimeError, ServeArgs, bucket,
    bucket::Bucket,
    drain::{Drain, exit_with_parent},
    metrics::process::HEARTBEAT_FAILURES,
    now_ms,
    progress::ProgressTable,
    store::{Metered, Store},
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
    pub(crate) address: String,
    service: Service,
}

impl ServiceProcess {
    /// Starts a process: its logs, connections, endpoints and signal handlers.
    /// With `bootstrap` it creates the streams, else it waits for them. The store is probed.
    ///
    /// # Errors
    /// When NATS or the store cannot be reached in time, or are not what the protocol needs.
    pub async fn start(
        args: &ServeArgs,
        service: Service,
        kinds: &[Kind],
        bootstrap: bool,
    ) -> Result<Self, RuntimeError> {
        start_logging(args.log, service.name());
        if args.exit_with_parent {
            exit_with_parent();
        }
        let drain = Drain::default();
        drain.on_signals().map_err(anyhow::Error::from)?;
        Self::with_drain(args, service, kinds, bootstrap, drain).await
    }

    /// The same without signals and logs: the drain is the caller's.
    pub(crate) async fn with_drain(
        args: &ServeArgs,
        service: Service,
        kinds: &[Kind],
        bootstrap: bool,
        drain: Drain,
    ) -> Result<Self, RuntimeError> {
        let metrics = Metrics::new(service.name(), kinds)?;
        let mut connection = Connection::open(&args.connect, service.name()).await?;
        let measured: Arc<dyn Store> =
            Arc::new(Metered::new(connection.store.clone(), metrics.clone()));
        connection.store = measured;
        let health = Health::new(metrics.clone(), connection.clone(), drain.clone());
        let address = health.serve(args.listen).await?;
        tracing::info!(worker = worker_name(), metrics = %format!("http://{address}/metrics"), version = crate::VERSION, "started");
        let process = Self {
            connection,
            metrics,
            health,
            drain,
            progress_table: Arc::default(),
            address: format!("http://{address}/metrics"),
            service,
        };
        if bootstrap {
            process.connection.ensure_streams_in_time().await?;
            tokio::spawn(process.connection.clone().keep_streams());
        } else {
            process.connection.await_streams().await?;
        }
        process.connection.probe_store().await?;
        process.health.passed_probe();
        process.health.tick();
        tokio::spawn(process.clone().send_heartbeats());
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

    /// Ends the process's presence: removes its heartbeat and flushes what is buffered.
    pub async fn stop(&self) {
        if let Ok(bucket) = Bucket::open(&self.connection, bucket::WORKERS).await {
            // Otherwise it expires.
            let _ = bucket.remove(&worker_name()).await;
        }
        self.connection.flush().await;
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
            } else {
                self.metrics.add(&HEARTBEAT_FAILURES, 1);
                bucket = None;
            }
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let progress = self.progress_table.read();
        let progress = progress.as_ref();
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
        }
    }
}

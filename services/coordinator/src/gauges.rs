//! Metrics that only the coordinator exposes: queue depths, dead letters, active sweeps.

use cedm_contract::Kind;
use cedm_runtime::{
    Connection, DeadLetters, Metrics, RuntimeError, prometheus::GaugeVec, queue_depths,
};
use std::time::Duration;

/// How often queue depths are read.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The coordinator's own metrics.
#[derive(Clone)]
pub(crate) struct Gauges {
    metrics: Metrics,
    pending: GaugeVec,
    ack_pending: GaugeVec,
    redelivered: GaugeVec,
}

impl Gauges {
    /// Registers all of them, with zero for every kind.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, RuntimeError> {
        let by_kind = |name: &str, help: &str| {
            let gauges = metrics.add_gauges(name, help, &["kind"])?;
            for kind in Kind::ALL.iter().filter(|kind| kind.is_queued()) {
                gauges.with_label_values(&[kind.token()]).set(0.0);
            }
            Ok::<_, RuntimeError>(gauges)
        };
        let pending = by_kind(
            "cedm_queue_pending",
            "Jobs in the queue that no worker has received yet",
        )?;
        let ack_pending = by_kind(
            "cedm_queue_ack_pending",
            "Jobs delivered to a worker and not acknowledged yet, or waiting for redelivery",
        )?;
        let redelivered = by_kind(
            "cedm_queue_redelivered",
            "Unacknowledged jobs that were delivered more than once",
        )?;
        for (name, help) in [
            ("cedm_dead_letters", "Jobs that were given up"),
            (
                "cedm_sweeps_active",
                "Submitted sweeps that are neither done nor cancelled",
            ),
            (
                "cedm_sweep_last_progress_timestamp_seconds",
                "Unix time at which a job of any active sweep last finished",
            ),
        ] {
            metrics.add_gauge(name, help)?;
        }
        for (name, help) in [
            (
                "cedm_reconciles_total",
                "Reconciliations of all active sweeps with store and queue",
            ),
            (
                "cedm_reconcile_failures_total",
                "Reconciliations that failed and were retried",
            ),
            ("cedm_jobs_submitted_total", "Jobs published to the queue"),
            (
                "cedm_sweep_cache_hits_total",
                "Jobs of sweeps whose result existed before the sweep was submitted",
            ),
            ("cedm_reports_total", "Reports written"),
        ] {
            metrics.add_counter(name, help)?;
        }
        Ok(Self {
            metrics: metrics.clone(),
            pending,
            ack_pending,
            redelivered,
        })
    }

    /// Updates the gauges of the queue until dropped.
    pub(crate) async fn poll(self, connection: Connection) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.update(&connection).await {
                tracing::debug!(%error, "queue depths cannot be read");
            }
        }
    }

    async fn update(&self, connection: &Connection) -> Result<(), RuntimeError> {
        let depths = queue_depths(connection).await?;
        for kind in Kind::ALL.iter().filter(|kind| kind.is_queued()) {
            let of_kind = depths.iter().filter(|depth| depth.kind == *kind);
            let sums = of_kind.fold((0, 0, 0), |sum, depth| {
                (
                    sum.0 + depth.pending,
                    sum.1 + depth.ack_pending,
                    sum.2 + depth.redelivered,
                )
            });
            for (gauges, value) in [
                (&self.pending, sums.0),
                (&self.ack_pending, sums.1),
                (&self.redelivered, sums.2),
            ] {
                gauges.with_label_values(&[kind.token()]).set(value as f64);
            }
        }
        self.metrics.set(
            "cedm_dead_letters",
            DeadLetters::new(connection).count().await? as f64,
        );
        Ok(())
    }
}

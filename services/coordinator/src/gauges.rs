//! What only the coordinator can say: the depth of the queue, dead letters, active sweeps.

use cedm_contract::Kind;
use cedm_runtime::{
    Connection, DeadLetters, Metrics, RuntimeError, prometheus::GaugeVec, queue_depths,
};
use std::time::Duration;

/// Between two looks at the queue.
const EVERY: Duration = Duration::from_secs(5);

/// The coordinator's own metrics.
#[derive(Clone)]
pub(crate) struct Gauges {
    metrics: Metrics,
    pending: GaugeVec,
    ack_pending: GaugeVec,
    redelivered: GaugeVec,
}

impl Gauges {
    /// Registers them all, each label set at zero.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, RuntimeError> {
        let by_kind = |name: &str, help: &str| {
            let gauges = metrics.add_gauges(name, help, &["kind"])?;
            for kind in Kind::ALL.iter().filter(|kind| kind.is_queued()) {
                gauges.with_label_values(&[kind.token()]).set(0.0);
            }
            Ok::<_, RuntimeError>(gauges)
        };
        let pending = by_kind("cedm_queue_pending", "Jobs that wait in the queue")?;
        let ack_pending = by_kind(
            "cedm_queue_ack_pending",
            "Jobs in hand, or due for another delivery",
        )?;
        let redelivered = by_kind(
            "cedm_queue_redelivered",
            "Jobs in hand that were delivered more than once",
        )?;
        for (name, help) in [
            ("cedm_dead_letters", "Jobs that nobody could do"),
            (
                "cedm_sweeps_active",
                "Sweeps that are submitted and neither done nor cancelled",
            ),
            (
                "cedm_sweep_last_progress_timestamp_seconds",
                "When a job of any active sweep last came to its end, in Unix time",
            ),
        ] {
            metrics.add_gauge(name, help)?;
        }
        for (name, help) in [
            (
                "cedm_reconciles_total",
                "Times the plans of all active sweeps were compared with what is there",
            ),
            (
                "cedm_reconcile_failures_total",
                "Of these: failed, and tried again",
            ),
            ("cedm_jobs_submitted_total", "Jobs put into the queue"),
            (
                "cedm_sweep_cache_hits_total",
                "Jobs of sweeps whose result was there already",
            ),
            ("cedm_reports_total", "Reports made"),
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

    /// Looks at the queue until dropped.
    pub(crate) async fn watch(self, connection: Connection) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Err(error) = self.look(&connection).await {
                tracing::debug!(%error, "queue depths not read");
            }
        }
    }

    async fn look(&self, connection: &Connection) -> Result<(), RuntimeError> {
        let depths = queue_depths(connection).await?;
        for kind in Kind::ALL.iter().filter(|kind| kind.is_queued()) {
            let of_kind = depths.iter().filter(|depth| depth.kind == *kind);
            let sum = of_kind.fold((0, 0, 0), |sum, depth| {
                (
                    sum.0 + depth.pending,
                    sum.1 + depth.ack_pending,
                    sum.2 + depth.redelivered,
                )
            });
            for (gauges, value) in [
                (&self.pending, sum.0),
                (&self.ack_pending, sum.1),
                (&self.redelivered, sum.2),
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

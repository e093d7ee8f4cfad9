//! Gauges of the queue: its depth by kind of job, and the number of dead letters.

use crate::metrics::{
    self, ACK_PENDING, DELAYED, DELAYED_OLDEST, GAUGE_FAILURES, PENDING, REDELIVERED,
};
use cedm_contract::Kind;
use cedm_runtime::{
    DeadLetters, Metrics, RuntimeError, ServiceProcess, chain, delays, queue_depths,
};
use std::time::Duration;

/// How often queue depths are read.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the gauges of the queue up to date.
#[derive(Clone)]
pub(crate) struct Gauges {
    process: ServiceProcess,
}

impl Gauges {
    /// Sets every gauge to zero for every kind, so that it is exposed from the start.
    pub(crate) fn new(process: &ServiceProcess) -> Self {
        let metrics = process.metrics();
        for kind in queued_kinds() {
            for gauge in [&PENDING, &ACK_PENDING, &REDELIVERED, &DELAYED] {
                metrics.set_at(gauge, [kind.token()], 0.0);
            }
        }
        Self {
            process: process.clone(),
        }
    }

    /// Updates the gauges until dropped. Where a consumer or a stream turns out to be gone, it is
    /// made again; until a look succeeds the process is not ready.
    pub(crate) async fn poll(self) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Err(error) = self.update().await else {
                self.process.health().set_reason("queue", None);
                continue;
            };
            let error = chain(&error);
            self.metrics().add(&GAUGE_FAILURES, 1);
            tracing::warn!(%error, "the depth of the queue cannot be read");
            // Of a lost connection readiness says so itself.
            let is_connected = *self.process.connection().connected().borrow();
            let reason = format!("the depth of the queue cannot be read: {error}");
            let health = self.process.health();
            health.set_reason("queue", Some(reason).filter(|_| is_connected));
            if is_connected && let Err(error) = self.process.connection().ensure_streams().await {
                tracing::warn!(error = %chain(&error), "streams and consumers cannot be made again");
            }
        }
    }

    fn metrics(&self) -> &Metrics {
        self.process.metrics()
    }

    async fn update(&self) -> Result<(), RuntimeError> {
        let connection = self.process.connection();
        let depths = queue_depths(connection).await?;
        for kind in queued_kinds() {
            let of_kind = depths.iter().filter(|depth| depth.kind == *kind);
            let sums = of_kind.fold((0, 0, 0), |sum, depth| {
                (
                    sum.0 + depth.pending,
                    sum.1 + depth.ack_pending,
                    sum.2 + depth.redelivered,
                )
            });
            for (gauge, value) in [
                (&PENDING, sums.0),
                (&ACK_PENDING, sums.1),
                (&REDELIVERED, sums.2),
            ] {
                self.metrics().set_at(gauge, [kind.token()], value as f64);
            }
        }
        let delays = delays(connection).await?;
        for kind in queued_kinds() {
            let jobs = delays.jobs.get(kind).copied().unwrap_or(0);
            self.metrics().set_at(&DELAYED, [kind.token()], jobs as f64);
        }
        let oldest = delays.oldest.unwrap_or_default();
        self.metrics().set(&DELAYED_OLDEST, oldest.as_secs_f64());
        let dead = DeadLetters::new(connection).count().await?;
        self.metrics().set(&metrics::DEAD_LETTERS, dead as f64);
        Ok(())
    }
}

fn queued_kinds() -> impl Iterator<Item = &'static Kind> {
    Kind::ALL.iter().filter(|kind| kind.is_queued())
}

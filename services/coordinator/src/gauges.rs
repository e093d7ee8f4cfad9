//! Gauges of the queue: its depth by kind of job, and the number of dead letters.

use crate::metrics::{self, ACK_PENDING, PENDING, REDELIVERED};
use cedm_contract::Kind;
use cedm_runtime::{Connection, DeadLetters, Metrics, RuntimeError, chain, queue_depths};
use std::time::Duration;

/// How often queue depths are read.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the gauges of the queue up to date.
#[derive(Clone)]
pub(crate) struct Gauges {
    metrics: Metrics,
}

impl Gauges {
    /// Sets every gauge to zero for every kind, so that it is exposed from the start.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        for kind in queued_kinds() {
            for gauge in [&PENDING, &ACK_PENDING, &REDELIVERED] {
                metrics.set_at(gauge, [kind.token()], 0.0);
            }
        }
        Self {
            metrics: metrics.clone(),
        }
    }

    /// Updates the gauges until dropped.
    pub(crate) async fn poll(self, connection: Connection) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.update(&connection).await {
                tracing::debug!(error = %chain(&error), "queue depths cannot be read");
            }
        }
    }

    async fn update(&self, connection: &Connection) -> Result<(), RuntimeError> {
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
                self.metrics.set_at(gauge, [kind.token()], value as f64);
            }
        }
        let dead = DeadLetters::new(connection).count().await?;
        self.metrics.set(&metrics::DEAD_LETTERS, dead as f64);
        Ok(())
    }
}

fn queued_kinds() -> impl Iterator<Item = &'static Kind> {
    Kind::ALL.iter().filter(|kind| kind.is_queued())
}

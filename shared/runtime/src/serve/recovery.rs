//! When a worker takes no jobs for a while: after failures in a row, while its store is full or does
//! not answer, and when its store is not that of the jobs.

use super::{AGAIN, WorkLoop};
use crate::{
    RetryPolicy,
    attempt::Ended,
    error::chain,
    queue::Delivery,
    store::{StoreError, identity},
};
use std::time::Duration;

/// Longest pause of a worker whose attempts fail one after the other.
const RECOVERY: RetryPolicy =
    RetryPolicy::doubling(Duration::from_secs(1), Duration::from_secs(60));
/// From so many jobs in a row on whose inputs are missing, the worker itself is in doubt.
const LOST_LIMIT: u64 = 3;
/// Pause of such a worker before it tries another job.
pub(super) const LOST: RetryPolicy =
    RetryPolicy::doubling(Duration::from_secs(5), Duration::from_secs(600));
/// How many attempts have failed one after the other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Streak {
    /// Failures that are retried.
    failed: u64,
    /// Jobs whose inputs were missing or damaged.
    lost: u64,
}

impl Streak {
    pub(super) fn add(&mut self, ended: Option<Ended>) {
        *self = match ended {
            Some(Ended::Retry | Ended::Bug) => Self {
                failed: self.failed + 1,
                ..*self
            },
            Some(Ended::InputLost) => Self {
                lost: self.lost + 1,
                failed: 0,
            },
            _ => Self::default(),
        };
    }

    /// How long to take no job; `None` when there is no reason to wait.
    fn pause(&self) -> Option<Duration> {
        if self.failed > 0 {
            return Some(RECOVERY.delay(self.failed));
        }
        // Several jobs may well share one lost input.
        (self.lost >= LOST_LIMIT).then(|| LOST.delay(self.lost - LOST_LIMIT + 1))
    }
}

impl WorkLoop {
    /// Pauses after attempts that failed one after the other: a machine with a full disk or without
    /// its store must not run through the queue and use up every job's tries. It waits until the
    /// store answers and can be written, and longer from failure to failure. A worker that finds
    /// the inputs of every job missing most likely has another store than those who made them.
    pub(super) async fn recover(&self, streak: Streak) {
        let health = &self.process.health;
        let is_suspect = streak.lost >= LOST_LIMIT;
        health.set_reason(
            "inputs",
            is_suspect.then(|| {
                format!(
                    "the inputs of {} jobs in a row are missing or damaged in this worker's store: \
                     is it the coordinator's? One job is tried from time to time",
                    streak.lost
                )
            }),
        );
        let Some(pause) = streak.pause() else {
            return;
        };
        if is_suspect {
            tracing::warn!(
                lost = streak.lost,
                pause_s = pause.as_secs_f64(),
                "the inputs of job after job are missing; no jobs are taken for a while"
            );
        }
        let healed = async {
            self.pause(pause).await;
            let unwell = |error: &StoreError| {
                health.tick();
                health.set_reason("store", Some(format!("the store: {}", chain(error))));
                true
            };
            let ask = || self.runner.store_answers();
            // Without an end: an error is not possible.
            let _ = AGAIN
                .retry("write to the store before the next job", unwell, ask)
                .await;
            health.set_reason("store", None);
        };
        tokio::select! {
            () = healed => {}
            () = self.process.drain.begun() => {}
        }
    }

    /// Waits, alive.
    pub(super) async fn pause(&self, pause: Duration) {
        let paused = tokio::time::sleep(pause);
        tokio::pin!(paused);
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                () = &mut paused => return,
                _ = tick.tick() => self.process.health.tick(),
            }
        }
    }

    /// Whether the job's inputs are in another store than this worker's: then nothing that this
    /// worker could say about them would be true. A store that does not answer is for the attempt
    /// to find out.
    pub(super) async fn is_of_another_store(&self, delivery: &Delivery) -> bool {
        let Some(expected) = delivery.envelope.store else {
            return false;
        };
        let Ok(found) = identity(self.process.connection.store().as_ref()).await else {
            return false;
        };
        let is_other = found != Some(expected);
        let reason = is_other.then(|| {
            let found = found.map_or("has no id".to_owned(), |found| format!("is {found}"));
            format!(
                "this worker has another store than the coordinator: its own {found}, the jobs' is \
                 {expected}; compare CEDM_S3_ENDPOINT and CEDM_S3_BUCKET. No job is performed"
            )
        });
        if let Some(reason) = &reason {
            tracing::error!("{reason}");
        }
        self.process.health.set_reason("other store", reason);
        is_other
    }
}

//! When a worker takes no jobs for a while: after failures in a row, while its store is full or
//! does not answer, and when its store is not that of the jobs.

use super::{AGAIN, WorkLoop};
use crate::{
    RetryPolicy, attempt::AttemptEnd, error::chain, queue::Delivery, store::StoreError, worker_name,
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
/// What to do with a job that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Perform the job.
    Perform,
    /// Return it: the process is stopping.
    Return,
    /// Return it, and take no other for a while: its inputs are in another store.
    OtherStore,
}

/// How many attempts have failed one after the other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Streak {
    /// Failures that are retried.
    failed: u64,
    /// Jobs whose inputs were missing or damaged.
    lost: u64,
}

impl Streak {
    pub(super) fn add(&mut self, ended: Option<AttemptEnd>) {
        *self = match ended {
            Some(AttemptEnd::Retry | AttemptEnd::Bug) => Self {
                failed: self.failed + 1,
                ..*self
            },
            Some(AttemptEnd::InputLost) => Self {
                lost: self.lost + 1,
                failed: 0,
            },
            _ => Self::default(),
        };
    }

    /// How long to take no job; `None` when there is no reason to wait.
    fn pause(&self) -> Option<Duration> {
        if self.failed > 0 {
            return Some(RECOVERY.delay_with_jitter(self.failed, worker_name().as_bytes()));
        }
        // Several jobs may well share one lost input.
        (self.lost >= LOST_LIMIT).then(|| {
            let failures = self.lost - LOST_LIMIT + 1;
            LOST.delay_with_jitter(failures, worker_name().as_bytes())
        })
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
                health.set_reason("store", Some(format!("the store: {}", chain(error))));
                true
            };
            let ask = || self.runner.store_answers();
            // Without an end: an error is not possible.
            let _ = self
                .alive(AGAIN.retry("write to the store before the next job", unwell, ask))
                .await;
            health.set_reason("store", None);
        };
        tokio::select! {
            () = healed => {}
            () = self.process.drain.begun() => {}
        }
    }

    /// Waits, and tells the health check meanwhile that the loop is alive.
    pub(super) async fn pause(&self, pause: Duration) {
        self.alive(tokio::time::sleep(pause)).await;
    }

    /// Awaits something that may take long, while the main loop counts as alive: a dependency that
    /// hangs is no reason to restart this process.
    async fn alive<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => self.process.health.tick(),
            }
        }
    }

    /// Whether to perform a job that was delivered.
    pub(super) async fn verdict(&self, delivery: &Delivery) -> Verdict {
        let drain = &self.process.drain;
        let is_other = tokio::select! {
            is_other = self.is_of_another_store(delivery) => is_other,
            () = drain.begun() => return Verdict::Return,
        };
        match is_other {
            // It may have begun with the answer.
            _ if drain.has_begun() => Verdict::Return,
            true => Verdict::OtherStore,
            false => Verdict::Perform,
        }
    }

    /// Whether the job's inputs are in another store than this worker's: then nothing that this
    /// worker could say about them would be true. The store is asked only when its id as last read
    /// differs; one that does not answer is for the attempt to find out.
    async fn is_of_another_store(&self, delivery: &Delivery) -> bool {
        let watch = &self.process.store_watch;
        let is_known = |expected| watch.own() == Some(expected);
        let is_other = match delivery.envelope.store {
            None => false,
            Some(expected) if is_known(expected) => false,
            Some(expected) => watch.look().await && !is_known(expected),
        };
        let reason = delivery
            .envelope
            .store
            .filter(|_| is_other)
            .map(|expected| {
                let found = watch.own();
                let found = found.map_or("has no id".to_owned(), |found| format!("is {found}"));
                format!(
                    "this worker has another store than the job's submitter: its own {found}, the \
                 job's is {expected}; compare CEDM_S3_ENDPOINT and CEDM_S3_BUCKET. No job is \
                 performed"
                )
            });
        if let Some(reason) = &reason {
            tracing::error!("{reason}");
        }
        self.process.health.set_reason("other store", reason);
        is_other
    }
}

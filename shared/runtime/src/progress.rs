//! How far the current job is and when it last showed progress: written by the compute thread, read
//! by heartbeats, progress events, metrics and the watchdog.

use crate::stall::{LONGEST_TRANSFER, Stall, StallLimits};
use cedm_contract::{JobKey, Kind};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
// Simulated where the runtime's clock is.
use tokio::time::Instant;

/// Between two looks for a stalled job while there is none.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// A look that comes so much later than planned shows that the whole process was suspended.
const SUSPENDED: Duration = Duration::from_secs(5);

/// Most bytes of a note: it travels with every event of progress.
const LONGEST_NOTE: usize = 200;

/// The current job, if any.
#[derive(Debug, Default)]
pub(crate) struct ProgressTable {
    current: Mutex<Option<Current>>,
    /// The job that has stalled, for good: this process performs no other.
    stall: Mutex<Option<Stall>>,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub key: JobKey,
    pub kind: Kind,
    pub since_ms: u64,
    pub done: u64,
    pub total: u64,
    pub unit: &'static str,
    /// What the computation says of itself now, for a person: its loss, say.
    pub note: String,
}

#[derive(Debug)]
struct Current {
    progress: Progress,
    /// When it last showed that it is alive.
    seen: Instant,
    /// Whether it waits for the store or the broker rather than for a computation.
    is_transferring: bool,
    checkpointed: Instant,
    has_checkpointed: bool,
}

/// How old things are at this moment, for metrics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ages {
    /// Since the current job last showed progress; zero without a job.
    pub progress: Duration,
    /// Since its last checkpoint, or since its start; zero without a job.
    pub checkpoint: Duration,
}

impl ProgressTable {
    /// A job begins, by reading its inputs.
    pub(crate) fn begin(&self, key: &JobKey, kind: Kind) {
        let now = Instant::now();
        let progress = Progress {
            key: key.clone(),
            kind,
            since_ms: crate::now_ms(),
            done: 0,
            total: 0,
            unit: "",
            note: String::new(),
        };
        *lock(&self.current) = Some(Current {
            progress,
            seen: now,
            is_transferring: true,
            checkpointed: now,
            has_checkpointed: false,
        });
    }

    pub(crate) fn advance(&self, done: u64, total: u64, unit: &'static str) {
        self.change(|current| {
            let progress = &mut current.progress;
            (progress.done, progress.total, progress.unit) = (done, total, unit);
        });
    }

    /// Replaces what the job says of itself.
    pub(crate) fn set_note(&self, note: &str) {
        let end = note.floor_char_boundary(LONGEST_NOTE);
        self.change(|current| current.progress.note = note[..end].to_owned());
    }

    /// The job is alive, even where its numbers do not change.
    pub(crate) fn show(&self) {
        self.change(|_| ());
    }

    /// From now on the job waits for the store (`true`), or computes.
    pub(crate) fn set_transferring(&self, is_transferring: bool) {
        self.change(|current| current.is_transferring = is_transferring);
    }

    /// A checkpoint was tried; whether it was stored.
    pub(crate) fn checkpointed(&self, is_stored: bool) {
        self.change(|current| {
            current.checkpointed = Instant::now();
            current.has_checkpointed |= is_stored;
        });
    }

    pub(crate) fn end(&self) {
        *lock(&self.current) = None;
    }

    pub(crate) fn read(&self) -> Option<Progress> {
        lock(&self.current)
            .as_ref()
            .map(|current| current.progress.clone())
    }

    /// Whether the current job has stored a checkpoint.
    pub(crate) fn has_checkpointed(&self) -> bool {
        lock(&self.current)
            .as_ref()
            .is_some_and(|current| current.has_checkpointed)
    }

    pub(crate) fn ages(&self) -> Ages {
        lock(&self.current)
            .as_ref()
            .map_or_else(Ages::default, |current| Ages {
                progress: current.seen.elapsed(),
                checkpoint: current.checkpointed.elapsed(),
            })
    }

    /// Returns when the current job has shown no progress for longer than its kind may be silent,
    /// while this process ran: after a suspension the count begins anew.
    pub(crate) async fn stalled(&self, limits: &StallLimits) -> Stall {
        loop {
            let wait = match self.silence(limits) {
                None => IDLE_LOOK,
                Some(stall) if stall.silent >= stall.limit => {
                    *lock(&self.stall) = Some(stall.clone());
                    return stall;
                }
                // A transfer may end, and a shorter limit begin, while this waits.
                Some(stall) => {
                    let rest = stall.limit - stall.silent;
                    rest.min(limits.of(stall.kind) / 4)
                }
            };
            let planned = Instant::now() + wait;
            tokio::time::sleep_until(planned).await;
            if planned.elapsed() > SUSPENDED {
                self.show();
            }
        }
    }

    /// The job that has stalled, if one has.
    pub(crate) fn stall(&self) -> Option<Stall> {
        lock(&self.stall).clone()
    }

    fn silence(&self, limits: &StallLimits) -> Option<Stall> {
        let current = lock(&self.current);
        let current = current.as_ref()?;
        let Progress { key, kind, .. } = &current.progress;
        let mut limit = limits.of(*kind);
        if current.is_transferring {
            limit = limit.max(LONGEST_TRANSFER);
        }
        Some(Stall {
            key: key.clone(),
            kind: *kind,
            silent: current.seen.elapsed(),
            limit,
        })
    }

    fn change(&self, change: impl FnOnce(&mut Current)) {
        if let Some(current) = lock(&self.current).as_mut() {
            current.seen = Instant::now();
            change(current);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stall::default_limit;
    use std::sync::Arc;

    /// A table with a running `train` job, and a task that waits for its stall.
    fn watched() -> (Arc<ProgressTable>, tokio::task::JoinHandle<Stall>) {
        let table = Arc::new(ProgressTable::default());
        table.begin(&JobKey::of(b"job"), Kind::Train);
        table.set_transferring(false);
        let of_task = table.clone();
        let waiting = tokio::spawn(async move { of_task.stalled(&StallLimits::default()).await });
        (table, waiting)
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_shows_progress_never_stalls() {
        let (table, waiting) = watched();
        let limit = default_limit(Kind::Train);
        for step in 0..20 {
            tokio::time::sleep(limit.mul_f64(0.9)).await;
            table.advance(step, 20, "steps");
        }
        assert!(!waiting.is_finished());
        let begun = Instant::now();
        let stall = waiting.await.unwrap();
        assert!(stall.silent >= limit && begun.elapsed() < limit * 2);
        assert_eq!(
            table.ages().progress,
            stall.silent,
            "the age goes on without a report"
        );
    }

    /// The clock jumps, as it does for a process between SIGSTOP and SIGCONT.
    #[tokio::test(start_paused = true)]
    async fn a_suspended_process_is_not_stalled() {
        let (_, waiting) = watched();
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::time::advance(default_limit(Kind::Train) * 3).await;
        let begun = Instant::now();
        waiting.await.unwrap();
        assert!(begun.elapsed() >= default_limit(Kind::Train).mul_f64(0.9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_may_take_longer_and_ends_too() {
        let (table, waiting) = watched();
        table.set_transferring(true);
        tokio::time::sleep(LONGEST_TRANSFER.mul_f64(0.9)).await;
        assert!(!waiting.is_finished());
        table.set_transferring(false);
        let begun = Instant::now();
        assert_eq!(waiting.await.unwrap().limit, default_limit(Kind::Train));
        assert!(begun.elapsed() < default_limit(Kind::Train) * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn ages_are_those_of_the_moment() {
        let (table, _) = watched();
        tokio::time::sleep(Duration::from_secs(5)).await;
        table.checkpointed(true);
        tokio::time::sleep(Duration::from_secs(7)).await;
        table.show();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let ages = table.ages();
        assert_eq!((ages.progress.as_secs(), ages.checkpoint.as_secs()), (2, 9));
        table.end();
        assert_eq!(table.ages().checkpoint, Duration::ZERO);
    }
}

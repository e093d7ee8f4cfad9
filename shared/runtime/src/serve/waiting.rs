//! An idle worker: one pull waits in each lane.

use super::{LoopState, WorkLoop};
use cedm_contract::{Kind, Priority};
use std::time::Duration;

/// Longest wait of one pull for a job.
const WAIT: Duration = Duration::from_secs(10);

impl WorkLoop {
    /// Waits for a job where there was none a moment ago, and performs it. Where that fails, the next
    /// look at the lanes says why.
    pub(super) async fn wait(&self, state: &mut LoopState) {
        let lanes: Vec<(Kind, Priority)> = Priority::ALL
            .into_iter()
            .flat_map(|priority| self.kinds.iter().map(move |kind| (*kind, priority)))
            .collect();
        let idle_for = state.idle_since.elapsed();
        let stop = async {
            let mut connected = self.process.connection.connected();
            connected.mark_unchanged();
            tokio::select! {
                _ = connected.changed() => {}
                () = self.process.drain.begun() => {}
                () = idle_until(self.exit_when_idle.map(|limit| limit.saturating_sub(idle_for))) => {}
                () = self.stay_alive() => {}
            }
        };
        let queue = &self.process.connection.queue;
        let Ok(found) = queue.wait(&lanes, waiting_time(), stop).await else {
            return;
        };
        let mut found = found.into_iter();
        let first = found.next();
        for other in found {
            self.return_to_queue(&other).await;
        }
        match first {
            Some(delivery) if self.process.drain.has_begun() => {
                self.return_to_queue(&delivery).await;
            }
            Some(delivery) => self.receive(delivery, state).await,
            None => {}
        }
    }

    /// Reports liveness for as long as it is polled.
    async fn stay_alive(&self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            self.process.health.tick();
        }
    }
}

/// For ever without a limit.
async fn idle_until(left: Option<Duration>) {
    match left {
        Some(left) => tokio::time::sleep(left).await,
        None => std::future::pending().await,
    }
}

/// How long a pull waits: a connection that has silently gone costs no more than that. Not the same for
/// all workers, that they do not all ask again at the same moment.
fn waiting_time() -> Duration {
    let shortest = WAIT / 2;
    let random = (ulid::Ulid::generate().random() % 1_000) as u32;
    shortest + shortest * random / 1_000
}

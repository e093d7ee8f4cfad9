//! Graceful shutdown: begun by a signal, by the end of the parent process, or by a test.

use crate::lifecycle::{EXIT_SECOND_SIGNAL, abort_after};
use std::{io::Read, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// A flag that is set once and stays set. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<bool>>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Drain {
    /// Begins the drain: running jobs stop at their next checkpoint.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it has begun.
    pub async fn begun(&self) {
        let mut watch = self.0.subscribe();
        // The sender lives in `self`: the wait cannot fail.
        let _ = watch.wait_for(|begun| *begun).await;
    }

    /// The first SIGTERM or SIGINT begins the drain, the second ends the process at once. If it
    /// still runs so long after the first, it is aborted.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub(crate) fn on_signals_within(&self, latest: Duration) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let drain = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if drain.has_begun() {
                    tracing::warn!("second signal: exiting now");
                    std::process::exit(EXIT_SECOND_SIGNAL);
                }
                tracing::info!(
                    "signal received: no new jobs; the current one is finished or stopped at a \
                     checkpoint"
                );
                drain.begin();
                abort_after(latest);
            }
        });
        Ok(())
    }
}

/// Ends this process when standard input closes, that is, with the process that holds its other
/// end, however that one died.
pub fn exit_with_parent() {
    std::thread::spawn(|| {
        // However the read ends, the parent has exited. Nothing may be lost by it: this is the
        // crash that the protocol survives.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

//! The wish to stop, and how it spreads: signals, the parent's end, a test's own hand.

use std::{io::Read, sync::Arc};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// A switch that goes one way. Cheap to clone; every clone is the same switch.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<bool>>);

impl Default for Drain {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Drain {
    /// Begins the drain.
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

    /// The first SIGTERM or SIGINT begins the drain, the second ends the process at once.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals(&self) -> std::io::Result<()> {
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
                    tracing::warn!("second signal: leaving at once");
                    std::process::exit(130);
                }
                tracing::info!(
                    "signal received: no new jobs, the one in hand is finished or left at a \
                     checkpoint"
                );
                drain.begin();
            }
        });
        Ok(())
    }
}

/// Ends this process when standard input closes, that is, with the process that holds its other
/// end, however that one died.
pub fn exit_with_parent() {
    std::thread::spawn(|| {
        // Whatever ends the read, the parent is gone. Nothing may be lost by it: this is the crash
        // that the protocol survives.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

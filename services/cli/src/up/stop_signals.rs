//! Requests to stop the supervisor: SIGINT, SIGTERM, or the end of standard input.

use anyhow::{Context, Result};
use std::thread;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Receives every request to stop this process.
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    parent_gone: Option<oneshot::Receiver<()>>,
}

impl StopSignals {
    /// Starts to listen; to the end of stdin only with `exit_with_parent`.
    pub(super) fn listen(exit_with_parent: bool) -> Result<Self> {
        let parent_gone = exit_with_parent.then(|| {
            let (sender, receiver) = oneshot::channel();
            thread::spawn(move || {
                // However the read ends, the parent is gone.
                std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
                sender.send(()).ok();
            });
            receiver
        });
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listen to SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listen to SIGTERM")?,
            parent_gone,
        })
    }

    /// Waits for the next request.
    pub(super) async fn received(&mut self) {
        let parent_gone = async {
            match &mut self.parent_gone {
                Some(receiver) => drop(receiver.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = parent_gone => self.parent_gone = None,
        }
    }
}

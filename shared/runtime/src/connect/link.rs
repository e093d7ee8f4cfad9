//! What is known about the connection to NATS, from its events.

use async_nats::{ClientError, ConnectErrorKind, Event};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How long a denied permission is a reason not to be ready.
const DENIED_FOR: Duration = Duration::from_secs(60);

/// What is known about the connection to NATS.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Permission violations since the start: they show as time-outs elsewhere, and here by name.
    denied: AtomicU64,
    /// The last of them.
    last_denied: Mutex<Option<(Instant, String)>>,
    /// Since when the server refuses who connects, and why.
    refused: Mutex<Option<(Instant, String)>>,
}

impl Link {
    /// Permission violations since the start, and the last one if it is younger than a minute.
    pub(super) fn denied(&self) -> (u64, Option<String>) {
        let last = lock(&self.last_denied);
        let recent = last.as_ref().filter(|(at, _)| at.elapsed() < DENIED_FOR);
        let recent = recent.map(|(_, text)| text.clone());
        (self.denied.load(Ordering::Relaxed), recent)
    }

    /// For how long the server has been refusing who connects, and why.
    pub(super) fn refusal(&self) -> Option<(Duration, String)> {
        let refused = lock(&self.refused);
        let (since, reason) = refused.as_ref()?;
        Some((since.elapsed(), reason.clone()))
    }

    /// Notes why a connection is refused, and logs each reason once; the first one after a
    /// connection says since when.
    pub(super) fn refuse(&self, reason: String) {
        let mut refused = lock(&self.refused);
        if refused.as_ref().is_none_or(|(_, known)| *known != reason) {
            tracing::error!(%reason, "NATS refuses this process; it tries again");
        }
        let since = refused
            .as_ref()
            .map_or_else(Instant::now, |(since, _)| *since);
        *refused = Some((since, reason));
    }

    /// Takes note of an event of the client.
    pub(super) fn note(&self, is_connected: &watch::Sender<bool>, event: &Event) {
        match event {
            Event::Connected => {
                *lock(&self.refused) = None;
                is_connected.send_replace(true);
            }
            Event::Disconnected | Event::Closed => {
                is_connected.send_replace(false);
            }
            // The client tells the kind of the error as text only. A file that could not be read
            // has said so itself.
            Event::ClientError(ClientError::Other(text))
                if *text == ConnectErrorKind::AuthorizationViolation.to_string() =>
            {
                self.refuse(
                    "the server refuses the credentials (authorization violation)".to_owned(),
                );
                return;
            }
            _ => {}
        }
        let text = event.to_string();
        if text.to_lowercase().contains("permissions violation") {
            self.denied.fetch_add(1, Ordering::Relaxed);
            *lock(&self.last_denied) = Some((Instant::now(), text.clone()));
            tracing::error!(event = %text, "NATS denies a permission; the request that needed it \
                will time out");
        } else {
            tracing::info!(event = %text, "NATS connection");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

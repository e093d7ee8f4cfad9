//! Logs: JSON lines for machines, one-liners for people, always on standard error.

mod json;

use cedm_terminal::LogLines;
use json::JsonLines;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Lines for people at a terminal.
    #[default]
    Human,
}

/// What is logged unless `CEDM_LOG` says otherwise. A target matches by prefix, so `cedm` covers
/// all crates of this workspace.
const DEFAULT_FILTER: &str = "warn,cedm=info";

/// Starts logging. `CEDM_LOG` chooses what is logged, in the syntax of `RUST_LOG`; by default our
/// own crates from `info` on, libraries from `warn` on. A second call has no effect.
pub fn start_logging(format: LogFormat, service: &str) {
    let filter =
        EnvFilter::try_from_env("CEDM_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Json => registry.with(JsonLines::new(service)).try_init(),
        LogFormat::Human => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .compact()
                    .with_target(false)
                    // Colours are control characters, and those of strangers must not pass.
                    .with_ansi(false)
                    .with_writer(LogLines::text),
            )
            .try_init(),
    };
    // In tests several services share one process.
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        sync::{Arc, Mutex, PoisonError},
    };

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn our_crates_log_from_info_on_and_libraries_from_warn_on() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(DEFAULT_FILTER))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "cedm_trainer::worker", "shown 1");
            tracing::info!(target: "cedm", "shown 2");
            tracing::warn!(target: "async_nats", "shown 3");
            tracing::debug!(target: "cedm_trainer", "hidden");
            tracing::info!(target: "async_nats", "hidden");
        });
        let lines = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&lines);
        assert_eq!(text.matches("shown").count(), 3, "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }
}

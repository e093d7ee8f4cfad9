//! Logs: JSON lines for machines, one-liners for people, always on standard error.

mod json;

use json::JsonLines;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    #[default]
    Human,
}

/// Starts logging. `CEDM_LOG` chooses what is logged (default `info`, libraries from `warn` on). A
/// second call has no effect.
pub fn start_logging(format: LogFormat, service: &str) {
    let filter = EnvFilter::try_from_env("CEDM_LOG")
        .unwrap_or_else(|_| "warn,cedm=info,cedm_runtime=info".into());
    let filter = match std::env::var_os("CEDM_LOG") {
        Some(_) => filter,
        // Every crate of ours, whatever its name.
        None => OURS.iter().fold(filter, |filter, name| {
            match format!("{name}=info").parse() {
                Ok(directive) => filter.add_directive(directive),
                Err(_) => filter,
            }
        }),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Json => registry.with(JsonLines::new(service)).try_init(),
        LogFormat::Human => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .compact()
                    .with_target(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
    // In tests several services share one process.
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
}

/// Targets logged from `info` on.
const OURS: [&str; 20] = [
    "cedm",
    "cedm_cli",
    "cedm_runtime",
    "cedm_coordinator",
    "cedm_extractor",
    "cedm_clusterer",
    "cedm_bounds",
    "cedm_trainer",
    "cedm_sampler",
    "cedm_evaluator",
    "cedm_store",
    "cedm_images",
    "cedm_nets",
    "cedm_torch",
    "cedm_maths",
    "cedm_clustering",
    "cedm_diffusion",
    "cedm_planner",
    "cedm_report",
    "cedm_tests",
];

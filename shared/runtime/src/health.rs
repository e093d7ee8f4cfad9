//! `/metrics`, `/livez`, `/readyz`: liveness depends on the main loop alone, readiness on the
//! connections.

mod local_names;

use crate::{
    Connection, Metrics, RuntimeError,
    drain::Drain,
    error::chain,
    metrics::process::{CHECKPOINT_AGE, HEARTBEAT_AGE, NATS_CONNECTED, NATS_DENIED, PROGRESS_AGE},
    progress::ProgressTable,
};
use anyhow::Context as _;
use axum::{Router, extract::State, http::StatusCode, middleware, routing::get};
use cedm_terminal::printable;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Without a tick of the main loop for this long, `/livez` says so. A pull may take 5 s for each of
/// a few lanes.
const LONGEST_TICK_S: u64 = 120;

/// The state behind the endpoints. Cheap to clone.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    metrics: Metrics,
    connection: Connection,
    drain: Drain,
    progress_table: Arc<ProgressTable>,
    probed: AtomicBool,
    start: Instant,
    ticked_s: std::sync::atomic::AtomicU64,
    /// When the last heartbeat was stored, or the process began.
    heartbeat: Mutex<Instant>,
    reasons: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    pub(crate) fn new(
        metrics: Metrics,
        connection: Connection,
        drain: Drain,
        progress_table: Arc<ProgressTable>,
    ) -> Self {
        let inner = Inner {
            metrics,
            connection,
            drain,
            progress_table,
            probed: AtomicBool::new(false),
            start: Instant::now(),
            ticked_s: Default::default(),
            heartbeat: Mutex::new(Instant::now()),
            reasons: Mutex::default(),
        };
        Self(Arc::new(inner))
    }

    /// Notes that the main loop has run once more.
    pub fn tick(&self) {
        self.0
            .ticked_s
            .store(self.0.start.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// The streams are there and the store passed its probe.
    pub(crate) fn passed_probe(&self) {
        self.0.probed.store(true, Ordering::Relaxed);
    }

    /// A heartbeat was stored.
    pub(crate) fn sent_heartbeat(&self) {
        *lock(&self.0.heartbeat) = Instant::now();
    }

    /// Notes why the process is not ready, or (`None`) that this topic is no reason any more.
    pub fn set_reason(&self, topic: &'static str, reason: Option<String>) {
        let mut reasons = lock(&self.0.reasons);
        match reason {
            Some(reason) => reasons.insert(topic, reason),
            None => reasons.remove(topic),
        };
    }

    /// Serves the endpoints until the process ends; the address bound.
    pub(crate) async fn serve(&self, listen: SocketAddr) -> Result<SocketAddr, RuntimeError> {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .with_context(|| format!("listen on {listen} for /metrics"))?;
        let address = listener.local_addr().context("address of /metrics")?;
        let mut router = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(live))
            .route("/readyz", get(ready))
            .with_state(self.clone());
        if address.ip().is_loopback() {
            router = router.layer(middleware::from_fn(local_names::require));
        }
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(error = %chain(&error), "the metrics endpoint ended");
            }
        });
        Ok(address)
    }

    /// Why the process is not ready; empty when it is.
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !*self.0.connection.connected.borrow() {
            reasons.push("NATS is not connected".to_owned());
        }
        if !self.0.probed.load(Ordering::Relaxed) {
            reasons.push("the streams and the store have not been probed yet".to_owned());
        }
        if self.0.drain.has_begun() {
            reasons.push("draining".to_owned());
        }
        if let Some((since, reason)) = self.0.connection.refusal() {
            reasons.push(format!("for {} s: {reason}", since.as_secs()));
        }
        if let (count, Some(last)) = self.0.connection.denied() {
            reasons.push(format!(
                "NATS denied {count} requests, the last one: {last}"
            ));
        }
        reasons.extend(self.0.progress_table.stall().map(|stall| stall.to_string()));
        reasons.extend(lock(&self.0.reasons).values().cloned());
        // They quote servers and messages of strangers: one line each, whatever is in them.
        let shown = reasons.iter().map(|reason| printable(reason).into_owned());
        shown.collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn metrics(State(health): State<Health>) -> ([(&'static str, &'static str); 1], String) {
    let inner = &health.0;
    let is_connected = *inner.connection.connected.borrow();
    inner.metrics.set(&NATS_CONNECTED, f64::from(is_connected));
    inner
        .metrics
        .set(&NATS_DENIED, inner.connection.denied().0 as f64);
    // Ages are those of this moment: a computation that hangs reports none.
    let ages = inner.progress_table.ages();
    for (gauge, age) in [
        (&PROGRESS_AGE, ages.progress),
        (&CHECKPOINT_AGE, ages.checkpoint),
        (&HEARTBEAT_AGE, lock(&inner.heartbeat).elapsed()),
    ] {
        inner.metrics.set(gauge, age.as_secs_f64());
    }
    (
        [("content-type", "text/plain; version=0.0.4")],
        inner.metrics.render(),
    )
}

async fn live(State(health): State<Health>) -> (StatusCode, String) {
    // The process is about to exit; this is for the case that it cannot.
    if let Some(stall) = health.0.progress_table.stall() {
        let reason = stall.to_string();
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", printable(&reason)),
        );
    }
    // Neither does waiting change it, nor is there anything that this process could do.
    if let Some(refusal) = health.0.connection.lasting_refusal() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", printable(&refusal)),
        );
    }
    let silent_s = health
        .0
        .start
        .elapsed()
        .as_secs()
        .saturating_sub(health.0.ticked_s.load(Ordering::Relaxed));
    if silent_s <= LONGEST_TICK_S {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the main loop has not run for {silent_s} s\n"),
        )
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    let reasons = health.unready();
    if reasons.is_empty() {
        (
            StatusCode::OK,
            "ok\nNATS is connected\nthe store answers\n".to_owned(),
        )
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}

//! The loop: woken by events, by new sweeps and by a timer, it reconciles.

use crate::{gauges::Gauges, metrics, reconcile::Coordinator};
use anyhow::Context;
use cedm_contract::{Event, Service};
use cedm_runtime::{
    Bucket, Connection, Entry, EventFilter, Redeliverer, RetryPolicy, RuntimeError, SWEEPS,
    ServeArgs, ServiceProcess, live_events,
};
use futures::{FutureExt, Stream, StreamExt};
use std::time::{Duration, Instant};

/// Everything is read again this often, whatever the events say.
const RECONCILE_EVERY: Duration = Duration::from_secs(15);
/// After a failure, again after this; twice as long after each that follows, up to
/// [`RECONCILE_EVERY`].
const AFTER_FAILURE: RetryPolicy = RetryPolicy::doubling(Duration::from_secs(1), RECONCILE_EVERY);

/// Runs the coordinator until SIGTERM or SIGINT.
///
/// # Errors
/// When NATS or the store cannot be reached in time, or are not what the protocol needs.
pub fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(async {
        let process = ServiceProcess::start(&args, Service::Coordinator, &[], true).await?;
        coordinate(&process).await?;
        process.stop().await;
        Ok(())
    })
}

/// The loop itself, until the shell drains.
///
/// # Errors
/// When its metrics cannot be registered. What NATS or the store refuse is tried again.
pub async fn coordinate(process: &ServiceProcess) -> anyhow::Result<()> {
    process.metrics().register(metrics::METRICS)?;
    let gauges = Gauges::new(process.metrics());
    let connection = process.connection();
    let redeliverer = Redeliverer::new(connection);
    let aside = [
        tokio::spawn(gauges.watch(connection.clone())),
        tokio::spawn(async move { redeliverer.run().await }),
    ];
    let mut coordinator = Coordinator::new(process);
    let mut in_a_row = 0;
    while !process.drain().has_begun() {
        let begun = Instant::now();
        if let Err(error) = follow(process, &mut coordinator).await {
            in_a_row = if begun.elapsed() < RECONCILE_EVERY {
                in_a_row + 1
            } else {
                1
            };
            process.metrics().add(&metrics::RECONCILE_FAILURES, 1);
            tracing::warn!(error = %format!("{error:#}"), "reconcile failed; everything is read again");
            process.health().tick();
            tokio::select! {
                () = process.drain().begun() => {}
                () = tokio::time::sleep(AFTER_FAILURE.delay(in_a_row)) => {}
            }
        }
    }
    aside.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

/// Reads everything, then follows what happens; returns when the drain begins or the connection was
/// lost and is back, and with an error when something fails.
async fn follow(process: &ServiceProcess, coordinator: &mut Coordinator) -> anyhow::Result<()> {
    let connection = process.connection();
    let mut connected = connection.connected();
    connected.mark_unchanged();
    // A wiped broker has no streams.
    connection.ensure_streams().await?;
    // Events first, then the state: what happens in between is heard.
    let mut happened = events(connection).await?;
    let mut told = changes(connection).await?;
    coordinator.resync().await?;
    let mut every = tokio::time::interval(RECONCILE_EVERY);
    every.reset();
    let mut alive = tokio::time::interval(Duration::from_secs(2));
    loop {
        process.health().tick();
        tokio::select! {
            () = process.drain().begun() => return Ok(()),
            _ = alive.tick() => {}
            _ = every.tick() => coordinator.resync().await?,
            change = connected.changed() => {
                change.context("the connection to NATS is gone")?;
                if *connected.borrow_and_update() {
                    tracing::info!("the connection to NATS is back; everything is read again");
                    return Ok(());
                }
            }
            event = happened.next() => {
                let event = event.context("the event subscription ended")?;
                if on_events(coordinator, event, &mut happened) {
                    coordinator.reconcile().await?;
                }
            }
            entry = told.next() => {
                let entry = entry.context("the watch on sweeps ended")??;
                if let Ok(id) = entry.key.parse() {
                    coordinator.refresh(&id).await?;
                    coordinator.reconcile().await?;
                }
            }
        }
    }
}

/// Hears an event and all that wait behind it, so that a burst costs one plan; whether one of them
/// matters.
fn on_events(
    coordinator: &mut Coordinator,
    first: Event,
    happened: &mut (impl Stream<Item = Event> + Unpin),
) -> bool {
    let mut matters = coordinator.on_event(&first);
    while let Some(Some(event)) = happened.next().now_or_never() {
        matters |= coordinator.on_event(&event);
    }
    matters
}

async fn events(
    connection: &Connection,
) -> Result<impl Stream<Item = Event> + Send + Unpin + use<>, RuntimeError> {
    live_events(connection, &EventFilter::default()).await
}

async fn changes(
    connection: &Connection,
) -> Result<impl Stream<Item = Result<Entry, RuntimeError>> + Send + Unpin + use<>, RuntimeError> {
    Bucket::open(connection, SWEEPS).await?.watch().await
}

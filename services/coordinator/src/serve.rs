//! The control loop: reconciles when an event arrives, when a sweep changes, and on a timer.

use crate::{gauges::Gauges, metrics, reconcile::Coordinator};
use anyhow::Context;
use cedm_contract::{ContractError, Event, Service};
use cedm_runtime::{
    Bucket, Connection, Entry, EventFilter, Place, Redeliverer, RetryPolicy, RuntimeError, SWEEPS,
    ServeArgs, ServiceProcess, live_events, undecodable, worker_name,
};
use futures::{FutureExt, Stream, StreamExt};
use std::time::{Duration, Instant};

/// Period of full resynchronisation, which does not depend on events: they may be lost.
const RESYNC_INTERVAL: Duration = Duration::from_secs(15);
/// Pause after the first failure; doubled after each further one, up to [`RESYNC_INTERVAL`].
const RETRIES: RetryPolicy = RetryPolicy::doubling(Duration::from_secs(1), RESYNC_INTERVAL);

/// Runs the coordinator until SIGTERM or SIGINT.
///
/// # Errors
/// When NATS or the store cannot be reached in time, or do not meet the protocol's requirements.
pub fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let main = async |process: &ServiceProcess| Ok(coordinate(process).await?);
    Ok(ServiceProcess::run(
        &args,
        Service::Coordinator,
        &[],
        true,
        main,
    )?)
}

/// The control loop, until the process drains.
///
/// # Errors
/// When its metrics cannot be registered. Failures of NATS and the store are retried.
pub async fn coordinate(process: &ServiceProcess) -> anyhow::Result<()> {
    process.metrics().register(metrics::METRICS)?;
    let gauges = Gauges::new(process);
    let connection = process.connection();
    let redeliverer = Redeliverer::new(connection);
    let background = [
        tokio::spawn(gauges.poll()),
        tokio::spawn(async move { redeliverer.run().await }),
    ];
    let mut coordinator = Coordinator::new(process);
    let mut failures = 0;
    while !process.drain().has_begun() {
        let started = Instant::now();
        let ended = tokio::select! {
            ended = run_until_disconnected(process, &mut coordinator) => ended,
            // Without the broker or the store it waits for an answer; what was begun is made good
            // by the next coordinator.
            () = process.grace_over() => break,
        };
        if let Err(error) = ended {
            failures = if started.elapsed() < RESYNC_INTERVAL {
                failures + 1
            } else {
                1
            };
            process.metrics().add(&metrics::RECONCILE_FAILURES, 1);
            tracing::warn!(error = %format!("{error:#}"), "reconcile failed; resynchronising");
            process.health().tick();
            let pause = RETRIES.delay_with_jitter(failures, worker_name().as_bytes());
            tokio::select! {
                () = process.drain().begun() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    background.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

/// Resynchronises, then reconciles on every change. Returns when the drain begins or after a lost
/// connection is back, since events may have been missed; fails when an operation fails.
async fn run_until_disconnected(
    process: &ServiceProcess,
    coordinator: &mut Coordinator,
) -> anyhow::Result<()> {
    let connection = process.connection();
    let mut connected = connection.connected();
    connected.mark_unchanged();
    // A broker that lost its data has no streams.
    connection.ensure_streams().await?;
    // Subscribe before reading the state, so that no change in between is missed.
    let mut events = subscribe(connection).await?;
    let mut sweep_changes = watch_sweeps(connection).await?;
    coordinator.resync().await?;
    let mut resync = tokio::time::interval(RESYNC_INTERVAL);
    resync.reset();
    let mut liveness = tokio::time::interval(Duration::from_secs(2));
    loop {
        process.health().tick();
        tokio::select! {
            () = process.drain().begun() => return Ok(()),
            _ = liveness.tick() => {} // the head of the loop reports liveness
            _ = resync.tick() => coordinator.resync().await?,
            change = connected.changed() => {
                change.context("the connection to NATS is gone")?;
                if *connected.borrow_and_update() {
                    tracing::info!("the connection to NATS is back; resynchronising");
                    return Ok(());
                }
            }
            event = events.next() => {
                let event = event.context("the event subscription ended")?;
                if on_events(coordinator, event, &mut events) {
                    coordinator.reconcile().await?;
                }
            }
            entry = sweep_changes.next() => {
                let entry = entry.context("the watch on sweeps ended")??;
                match entry.key.parse() {
                    Ok(id) => {
                        coordinator.refresh(&id).await?;
                        coordinator.reconcile().await?;
                    }
                    Err(error) => {
                        let error: ContractError = error;
                        undecodable(Place::SweepEntries, &entry.key, &error.to_string());
                    }
                }
            }
        }
    }
}

/// Applies an event and all that are already waiting, so that a burst costs one reconciliation.
/// Returns whether any of them can change a plan.
fn on_events(
    coordinator: &mut Coordinator,
    first: Event,
    waiting: &mut (impl Stream<Item = Event> + Unpin),
) -> bool {
    let mut plan_changes = coordinator.on_event(&first);
    while let Some(Some(event)) = waiting.next().now_or_never() {
        plan_changes |= coordinator.on_event(&event);
    }
    plan_changes
}

async fn subscribe(
    connection: &Connection,
) -> Result<impl Stream<Item = Event> + Send + Unpin + use<>, RuntimeError> {
    live_events(connection, &EventFilter::default()).await
}

async fn watch_sweeps(
    connection: &Connection,
) -> Result<impl Stream<Item = Result<Entry, RuntimeError>> + Send + Unpin + use<>, RuntimeError> {
    Bucket::open(connection, SWEEPS).await?.watch().await
}

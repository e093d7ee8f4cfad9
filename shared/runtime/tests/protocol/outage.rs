//! The broker loses everything, or the store is unreachable: work pauses and nothing is lost.

use crate::harness::{Harness, JobEvents, job};
use cedm_contract::{EventWhat, Service, job_subject};
use cedm_runtime::{SubmitOutcome, Submitter};

#[tokio::test(flavor = "multi_thread")]
async fn after_the_broker_lost_its_data_the_streams_are_recreated_and_workers_continue() {
    let mut harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let (before, after) = (job("before"), job("after"));
    let mut events = JobEvents::of(&connection, &before).await;
    submitter.submit(&before).await.unwrap();
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    submitter.submit(&job("lost")).await.unwrap();

    harness.kill_nats();
    harness.delete_nats_data();
    harness.start_nats();
    crate::harness::eventually("the streams are recreated", async || {
        connection.ensure_streams().await.ok()
    })
    .await;
    assert!(
        matches!(
            submitter.submit(&before).await.unwrap(),
            SubmitOutcome::Cached(_)
        ),
        "results are in the store"
    );
    let mut events = JobEvents::of(&connection, &after).await;
    submitter.submit(&after).await.unwrap();
    events.next(EventWhat::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_store_uses_up_no_tries() {
    let mut harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (ready, job) = (job("ready"), job("patient"));
    let mut events = JobEvents::of(&connection, &ready).await;
    // A single failure that counts would make the job dead.
    let _worker = harness.worker(&["--max-attempts", "1"], &[]);
    Submitter::new(&connection).submit(&ready).await.unwrap();
    events.next(EventWhat::Done).await;

    let mut events = JobEvents::of(&connection, &job).await;
    harness.stop_store().await;
    harness
        .publish(
            job_subject(job.kind(), job.priority, &job.key),
            job.encode().unwrap(),
        )
        .await;
    events.next(EventWhat::Failed).await;
    harness.start_store().await;
    events.next(EventWhat::Done).await;
}

//! The broker is lost with everything in it, or the store is away: a pause, not a loss.

use crate::harness::{House, Story, job};
use cedm_contract::{EventWhat, Service, job_subject};
use cedm_runtime::{SubmitOutcome, Submitter};

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_broker_is_rebuilt_and_workers_go_on() {
    let mut harness = House::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let (before, after) = (job("before"), job("after"));
    let mut story = Story::of(&connection, &before).await;
    submitter.submit(&before).await.unwrap();
    let _worker = harness.worker(&[], &[]);
    story.next(EventWhat::Done).await;
    submitter.submit(&job("lost")).await.unwrap();

    harness.kill_nats();
    harness.wipe_nats();
    harness.start_nats();
    crate::harness::eventually("the streams are made again", async || {
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
    let mut story = Story::of(&connection, &after).await;
    submitter.submit(&after).await.unwrap();
    story.next(EventWhat::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_uses_up_no_tries() {
    let mut harness = House::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let (ready, job) = (job("ready"), job("patient"));
    let mut story = Story::of(&connection, &ready).await;
    // One failure of its own, and a job is dead.
    let _worker = harness.worker(&["--max-attempts", "1"], &[]);
    Submitter::new(&connection).submit(&ready).await.unwrap();
    story.next(EventWhat::Done).await;

    let mut story = Story::of(&connection, &job).await;
    harness.stop_store().await;
    harness
        .publish(
            job_subject(job.kind(), job.priority, &job.key),
            job.encode().unwrap(),
        )
        .await;
    story.next(EventWhat::Failed).await;
    harness.start_store().await;
    story.next(EventWhat::Done).await;
}

//! Consumers and streams that an operator removed: made again, and seen meanwhile.

use crate::{
    harness::{Harness, JobEvents, eventually, job},
    process::{address, get},
};
use cedm_contract::{EventWhat, Priority, Service};
use cedm_runtime::{SubmitOutcome, Submitter, consumer_name, delays, has_consumer, queue_depths};

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_consumer_is_made_again_by_its_worker() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let _worker = harness.worker(&[], &[]);
    address(&connection).await;
    let js = async_nats::jetstream::new(harness.client(Service::Coordinator).await);
    let job = job("hello");
    let is_watched = async || has_consumer(&connection, job.kind(), job.priority).await;
    assert!(is_watched().await.unwrap());
    for priority in Priority::ALL {
        let name = consumer_name(job.kind(), priority);
        js.delete_consumer_from_stream(name, "CEDM_JOBS")
            .await
            .unwrap();
    }
    let mut events = JobEvents::of(&connection, &job).await;
    let outcome = Submitter::new(&connection).submit(&job).await.unwrap();
    assert!(matches!(outcome, SubmitOutcome::Queued));
    events.next(EventWhat::Done).await;
    eventually("every lane is watched again", async || {
        queue_depths(&connection).await.ok()
    })
    .await;
    assert!(is_watched().await.unwrap());
}

/// Without a worker nobody makes it again: whoever asks why a job waits is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_without_consumer_is_known() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let js = async_nats::jetstream::new(harness.client(Service::Coordinator).await);
    let (job, other) = (job("hello"), Priority::P2);
    let name = consumer_name(job.kind(), job.priority);
    js.delete_consumer_from_stream(name, "CEDM_JOBS")
        .await
        .unwrap();
    let is_watched = async |priority| has_consumer(&connection, job.kind(), priority).await;
    assert!(!is_watched(job.priority).await.unwrap());
    assert!(is_watched(other).await.unwrap());
    js.delete_stream("CEDM_JOBS").await.unwrap();
    assert!(!is_watched(other).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_stream_shows_until_the_coordinator_has_made_it_again() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let _worker = harness.worker(&[], &[]);
    let address = address(&connection).await;
    let ready = async || get(&address, "/readyz").await;
    eventually("ready", async || (ready().await.0 == 200).then_some(())).await;
    let js = async_nats::jetstream::new(harness.client(Service::Coordinator).await);
    js.delete_stream("CEDM_JOBS").await.unwrap();
    let why = eventually("not ready", async || {
        let (status, why) = ready().await;
        (status == 503).then_some(why)
    })
    .await;
    assert!(
        why.contains("no jobs can be pulled") && why.contains("does not exist"),
        "{why}"
    );
    assert!(queue_depths(&connection).await.is_err());
    connection.ensure_streams().await.unwrap();
    eventually("ready again", async || {
        (ready().await.0 == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_jobs_are_counted() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    assert_eq!(delays(&connection).await.unwrap(), Default::default());
    let mut newer = job("from the future");
    newer.schema = 99;
    harness.publish_job(&newer).await;
    let _worker = harness.worker(&[], &[]);
    let found = eventually("one is delayed", async || {
        let found = delays(&connection).await.unwrap();
        (!found.jobs.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found.jobs, [(newer.kind(), 1)].into());
    assert!(found.oldest.is_some());
}

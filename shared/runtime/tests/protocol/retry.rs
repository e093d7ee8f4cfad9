//! A temporary failure is retried after a delay that survives a restart of the broker.

use crate::harness::{Harness, JobEvents, eventually, job, leaves_queue};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::{SubmitOutcome, Submitter};

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_retry_survives_a_restart_of_the_broker() {
    let mut harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let marker = harness.root.path().join("failed-once");
    let job = job(&format!("retry:{}", marker.display()));
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let worker = harness.worker(&["--max-jobs", "1"], &[]);
    let failed = events.next(EventWhat::Failed).await;
    assert!(
        failed.message.contains("failed on request"),
        "{}",
        failed.message
    );
    eventually("the retry waits in the queue", async || {
        submitter
            .outstanding(Some(job.kind()))
            .await
            .unwrap()
            .into_iter()
            .find(|found| found.key == job.key)
    })
    .await;
    drop(worker);
    assert!(matches!(
        submitter.submit(&job).await.unwrap(),
        SubmitOutcome::AlreadyQueued
    ));

    harness.kill_nats();
    harness.start_nats();
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    assert!(matches!(
        submitter.submit(&job).await.unwrap(),
        SubmitOutcome::Cached(_)
    ));
    // The event comes before the acknowledgement.
    leaves_queue(&submitter, &job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_delay_and_acknowledgement_loses_nothing() {
    let harness = Harness::with_ack_wait(2.0).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let marker = harness.root.path().join("failed-once");
    let job = job(&format!("retry:{}", marker.display()));
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let mut worker = harness.worker(&[], &[("CEDM_FAILPOINT", "after-delay")]);
    assert_eq!(worker.ended().await, None, "it crashed at the failpoint");
    // The delayed copy is due while the unacknowledged original still occupies its subject.
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    leaves_queue(&submitter, &job).await;
}

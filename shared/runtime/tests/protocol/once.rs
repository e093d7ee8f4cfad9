//! The same job is performed once, and its stored result counts only as far as it verifies.

use crate::harness::{Harness, JobEvents, job};
use cedm_contract::{EventWhat, Job, Priority, Service, manifest_key};
use cedm_runtime::{SubmitOutcome, Submitter, queue_depths};
use futures::StreamExt;

#[tokio::test(flavor = "multi_thread")]
async fn resubmitting_attaches_to_the_job_and_later_is_a_cache_hit() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("hello");
    let mut events = JobEvents::of(&connection, &job).await;
    assert!(matches!(
        submitter.submit(&job).await.unwrap(),
        SubmitOutcome::Queued
    ));
    assert!(matches!(
        submitter.submit(&job).await.unwrap(),
        SubmitOutcome::AlreadyQueued
    ));
    let waiting: u64 = queue_depths(&connection)
        .await
        .unwrap()
        .iter()
        .map(|depth| depth.pending)
        .sum();
    assert_eq!(waiting, 1);

    let _worker = harness.worker(&[], &[]);
    let done = events.next(EventWhat::Done).await;
    assert!(!done.cached);
    let SubmitOutcome::Cached(manifest) = submitter.submit(&job).await.unwrap() else {
        panic!("the result exists")
    };
    assert_eq!(Some((&manifest.attempt).into()), done.attempt);
    assert_eq!(manifest.outputs.len(), 2);
    assert!(
        manifest.timings.queued_ms <= manifest.timings.started_ms
            && manifest.timings.started_ms <= manifest.timings.finished_ms
    );
    assert!(!manifest.software.worker.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_wakes_an_idle_worker_before_its_next_poll() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    // By itself it would poll again in an hour.
    let _worker = harness.worker(&["--poll-s", "3600"], &[]);
    for index in 0..10 {
        let job = job(&format!("next {index}"));
        let mut events = JobEvents::of(&connection, &job).await;
        submitter.submit(&job).await.unwrap();
        events.next(EventWhat::Done).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_job_under_two_priorities_runs_once() {
    let harness = Harness::start().await;
    let (first, second) = (harness.submitter().await, harness.submitter().await);
    for round in 0..20 {
        let slow = job(&format!("round {round}"));
        let urgent = Job {
            priority: Priority::P0,
            ..slow.clone()
        };
        let (one, other) = tokio::join!(first.submit(&slow), second.submit(&urgent));
        let outcomes = [one.unwrap(), other.unwrap()];
        assert!(
            outcomes
                .iter()
                .any(|outcome| matches!(outcome, SubmitOutcome::Queued)),
            "{outcomes:?}"
        );
        let queued = first.outstanding(Some(slow.kind())).await.unwrap();
        assert_eq!(
            queued.iter().filter(|found| found.key == slow.key).count(),
            1,
            "{queued:?}"
        );
    }
}

/// The broker's answer to a pull can arrive when the worker has stopped waiting for it and is
/// performing another job.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_arrives_after_its_pull_goes_to_another_worker_at_once() {
    let harness = Harness::with_ack_wait(600.0).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let client = harness.client(Service::Coordinator).await;
    let mut inboxes = client.subscribe("_INBOX_extractor.>").await.unwrap();
    let _busy = harness.worker(&[], &[]);
    // Where it expects the answers to its pulls: those that say "no job" have a status, and another
    // description than those of buckets.
    let inbox = loop {
        let message = inboxes.next().await.unwrap();
        if message.description.as_deref() == Some("No Messages") {
            break message.subject;
        }
    };
    let (long, late) = (job("deaf"), job("late"));
    let mut events = JobEvents::of(&connection, &long).await;
    submitter.submit(&long).await.unwrap();
    events.next(EventWhat::Started).await;
    let mut events = JobEvents::of(&connection, &late).await;
    submitter.submit(&late).await.unwrap();
    let lane = "$JS.API.CONSUMER.MSG.NEXT.CEDM_JOBS.fit-p1";
    client
        .publish_with_reply(lane, inbox, r#"{"batch":1,"no_wait":true}"#.into())
        .await
        .unwrap();
    client.flush().await.unwrap();
    crate::harness::eventually("the busy worker has it", async || {
        let depths = queue_depths(&connection).await.unwrap();
        (depths.iter().map(|depth| depth.pending).sum::<u64>() == 0).then_some(())
    })
    .await;
    let _free = harness.worker(&[], &[]);
    assert!(
        events
            .next(EventWhat::Done)
            .await
            .attempt
            .is_some_and(|attempt| attempt.delivery == 2),
        "it was delivered twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_lost_an_object_is_recomputed() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("fragile");
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    let first = submitter.manifest(&job.key).await.unwrap().unwrap();

    connection
        .store()
        .delete(&first.output(crate::harness::ECHO).unwrap().object.object)
        .await
        .unwrap();
    assert!(matches!(
        submitter.submit(&job).await.unwrap(),
        SubmitOutcome::Queued
    ));
    let told = events.next(EventWhat::Failed).await;
    assert!(told.message.contains("is missing"), "{}", told.message);
    events.next(EventWhat::Done).await;
    let second = submitter.manifest(&job.key).await.unwrap().unwrap();
    assert_ne!(first.attempt, second.attempt);
    assert_eq!(first.digest, second.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_submitter_detects_damaged_bytes_of_the_right_size() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("damaged");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    let manifest = Submitter::new(&connection)
        .manifest(&job.key)
        .await
        .unwrap()
        .unwrap();
    let object = &manifest.output(crate::harness::ECHO).unwrap().object;
    let damaged = vec![b'x'; usize::try_from(object.size).unwrap()];
    connection
        .store()
        .put(
            &object.object,
            cedm_runtime::store::Body::Bytes(damaged.into()),
        )
        .await
        .unwrap();
    assert!(matches!(
        Submitter::new(&connection).submit(&job).await.unwrap(),
        SubmitOutcome::Queued
    ));
    events.next(EventWhat::Done).await;
    let again = Submitter::new(&connection)
        .manifest_or_discard(job.kind(), &job.key)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.digest, manifest.digest);
    assert!(
        connection
            .store()
            .get(&manifest_key(&job.key))
            .await
            .unwrap()
            .is_some()
    );
}

//! The same work is done once, and its stored result is trusted only as far as it verifies.

use crate::house::{House, Story, job};
use cedm_contract::{EventWhat, Service, manifest_key};
use cedm_runtime::{SubmitOutcome, Submitter, queue_depths};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn submitted_twice_is_one_job_and_then_a_cached_result() {
    let house = House::start().await;
    let connection = house.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("hello");
    let mut story = Story::of(&connection, &job).await;
    assert!(matches!(submitter.submit(&job).await.unwrap(), SubmitOutcome::Queued));
    assert!(matches!(submitter.submit(&job).await.unwrap(), SubmitOutcome::AlreadyQueued));
    let waiting: u64 = queue_depths(&connection).await.unwrap().iter().map(|depth| depth.pending).sum();
    assert_eq!(waiting, 1);

    let _worker = house.worker(&[], &[]);
    let done = story.next(EventWhat::Done).await;
    assert!(!done.cached);
    let SubmitOutcome::Cached(manifest) = submitter.submit(&job).await.unwrap() else {
        panic!("the result exists")
    };
    assert_eq!(manifest.attempt.to_string(), done.attempt);
    assert_eq!(manifest.outputs.len(), 2);
    assert!(manifest.timings.queued_ms <= manifest.timings.started_ms && manifest.timings.started_ms <= manifest.timings.finished_ms);
    assert!(!manifest.software.worker.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_worker_is_woken_and_not_polled() {
    let house = House::start().await;
    let connection = house.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let _worker = house.worker(&[], &[]);
    let first = job("first");
    let mut story = Story::of(&connection, &first).await;
    submitter.submit(&first).await.unwrap();
    story.next(EventWhat::Done).await;
    let mut waits = Vec::new();
    for index in 0..10 {
        let job = job(&format!("next {index}"));
        let mut story = Story::of(&connection, &job).await;
        let start = Instant::now();
        submitter.submit(&job).await.unwrap();
        story.next(EventWhat::Started).await;
        waits.push(start.elapsed());
    }
    println!("submit to start: {waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_lost_an_object_is_made_again() {
    let house = House::start().await;
    let connection = house.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("fragile");
    let mut story = Story::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let _worker = house.worker(&[], &[]);
    story.next(EventWhat::Done).await;
    let first = submitter.manifest(&job.key).await.unwrap().unwrap();

    connection
        .store()
        .delete(&first.output("echo.txt").unwrap().object.object)
        .await
        .unwrap();
    assert!(matches!(submitter.submit(&job).await.unwrap(), SubmitOutcome::Queued));
    let told = story.next(EventWhat::Failed).await;
    assert!(told.message.contains("is missing"), "{}", told.message);
    story.next(EventWhat::Done).await;
    let second = submitter.manifest(&job.key).await.unwrap().unwrap();
    assert_ne!(first.attempt, second.attempt);
    assert_eq!(first.digest, second.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bytes_of_the_right_size_are_found_by_a_fresh_submitter() {
    let house = House::start().await;
    let connection = house.connect(Service::Coordinator).await;
    let job = job("damaged");
    let mut story = Story::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let _worker = house.worker(&[], &[]);
    story.next(EventWhat::Done).await;
    let manifest = Submitter::new(&connection).manifest(&job.key).await.unwrap().unwrap();
    let object = &manifest.output("echo.txt").unwrap().object;
    let damaged = vec![b'x'; usize::try_from(object.size).unwrap()];
    connection
        .store()
        .put(&object.object, cedm_runtime::store::Body::Bytes(damaged.into()))
        .await
        .unwrap();
    assert!(matches!(
        Submitter::new(&connection).submit(&job).await.unwrap(),
        SubmitOutcome::Queued
    ));
    story.next(EventWhat::Done).await;
    let again = Submitter::new(&connection)
        .manifest_or_discard(job.kind(), &job.key)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.digest, manifest.digest);
    assert!(connection.store().get(&manifest_key(&job.key)).await.unwrap().is_some());
}

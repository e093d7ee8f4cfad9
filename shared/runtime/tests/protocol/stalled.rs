//! A computation that hangs, or an accelerator that is lost: its attempt is failed, the process
//! ends for its supervisor to start another, and that one finishes the job. The broker's redelivery
//! plays no part: `ack_wait` is longer than any test.

use crate::{
    harness::{ECHO, Harness, JobEvents, WorkerProcess, counted, eventually, job},
    process::{address, get},
};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::{DeadLetters, EXIT_STALLED, Submitter};

const UNREACHED_S: f64 = 3600.0;

/// A worker whose computation hangs before its first step, if it is the first to come there.
fn frozen_worker(harness: &Harness, arguments: &[&str]) -> WorkerProcess {
    let marker = harness.root.path().join("frozen");
    let failpoint = format!("in-compute:{}:hold", marker.display());
    harness.worker(arguments, &[("CEDM_FAILPOINT", &failpoint)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_job_is_failed_its_process_ends_and_another_finishes_it() {
    let harness = Harness::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("slow:3");
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let arguments = ["--stall-after-s", "900,fit=2"];
    let mut first = frozen_worker(&harness, &arguments);
    let failed = events.next(EventWhat::Failed).await;
    assert!(
        failed.message.contains("has shown no progress for"),
        "{}",
        failed.message
    );
    assert_eq!(first.ended().await, Some(EXIT_STALLED));

    let _second = frozen_worker(&harness, &arguments);
    let done = events.next(EventWhat::Done).await;
    assert_ne!(done.worker, failed.worker);
    let manifest = submitter.manifest(&job.key).await.unwrap().unwrap();
    let object = &manifest.output(ECHO).unwrap().object.object;
    let bytes = connection.store().get(object).await.unwrap().unwrap();
    assert_eq!(*bytes, *counted(3).as_bytes());
}

/// Each step is shorter than the limit, all of them together are longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_shows_progress_is_left_alone() {
    let harness = Harness::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("slow:80");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let arguments = [
        "--stall-after-s",
        "4",
        "--max-jobs",
        "1",
        "--max-attempts",
        "1",
    ];
    let mut worker = harness.worker(&arguments, &[]);
    events.next(EventWhat::Done).await;
    assert_eq!(worker.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_always_freezes_becomes_a_dead_letter() {
    let harness = Harness::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("deaf");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let arguments = ["--stall-after-s", "1", "--max-attempts", "2"];
    for _ in 0..2 {
        let mut worker = harness.worker(&arguments, &[]);
        assert_eq!(worker.ended().await, Some(EXIT_STALLED));
    }
    events.next(EventWhat::Dead).await;
    let letters = DeadLetters::new(&connection).list().await.unwrap();
    assert!(
        letters[0].error.contains("has shown no progress for"),
        "{}",
        letters[0].error
    );
}

/// Ages are computed at the scrape: those of a frozen job go on.
#[tokio::test(flavor = "multi_thread")]
async fn the_ages_of_a_frozen_job_rise() {
    let harness = Harness::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("slow:1");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let _worker = frozen_worker(&harness, &[]);
    events.next(EventWhat::Started).await;
    let address = address(&connection).await;
    for gauge in ["cedm_progress_age_seconds", "cedm_checkpoint_age_seconds"] {
        let mut last = 0.0;
        for _ in 0..3 {
            last = eventually(&format!("{gauge} rises"), async || {
                let (_, text) = get(&address, "/metrics").await;
                let line = text.lines().find(|line| line.starts_with(gauge)).unwrap();
                let age: f64 = line.split(' ').next_back().unwrap().parse().unwrap();
                (age > last).then_some(age)
            })
            .await;
        }
    }
}

/// CUDA repeats such an error for every later call of the process: it would spoil all jobs that it
/// pulls.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lost_its_device_gives_the_job_back_and_ends() {
    let harness = Harness::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let marker = harness.root.path().join("lost");
    let job = job(&format!("lose_device:{}", marker.display()));
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let mut first = harness.worker(&[], &[]);
    let failed = events.next(EventWhat::Failed).await;
    assert!(
        failed.message.contains("an illegal memory access"),
        "{}",
        failed.message
    );
    assert_eq!(first.ended().await, Some(EXIT_STALLED));

    let _second = harness.worker(&[], &[]);
    let done = events.next(EventWhat::Done).await;
    assert_ne!(done.worker, failed.worker);
}

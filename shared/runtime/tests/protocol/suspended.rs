//! A worker that is frozen for longer than `ack_wait` finds that another has committed; its late
//! result changes nothing.

use crate::harness::{Harness, JobEvents, job};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::Submitter;
use nix::sys::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn a_late_result_is_superseded_and_reported() {
    let harness = Harness::with_ack_wait(2.0).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("slow:20");
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let suspended = harness.worker(&[], &[]);
    let first = events.next(EventWhat::Started).await;
    suspended.signal(Signal::SIGSTOP);
    let _second = harness.worker(&[], &[]);
    let second = events.next(EventWhat::Started).await;
    assert_ne!(first.attempt, second.attempt);
    let done = events.next(EventWhat::Done).await;
    assert_eq!(done.attempt, second.attempt);
    let winner = submitter.manifest(&job.key).await.unwrap().unwrap();

    suspended.signal(Signal::SIGCONT);
    let superseded = events.next(EventWhat::Superseded).await;
    assert_eq!(superseded.attempt, first.attempt);
    assert!(
        superseded.message.contains("with the same result"),
        "{}",
        superseded.message
    );
    assert_eq!(submitter.manifest(&job.key).await.unwrap().unwrap(), winner);
}

//! A worker that sleeps longer than `ack_wait` wakes up to find that another has won; its late
//! result changes nothing.

use crate::harness::{House, Story, job};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::Submitter;
use nix::sys::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn a_late_result_is_superseded_visibly() {
    let harness = House::with_ack_wait(2.0).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("slow:20");
    let mut story = Story::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let zombie = harness.worker(&[], &[]);
    let first = story.next(EventWhat::Started).await;
    zombie.signal(Signal::SIGSTOP);
    let _second = harness.worker(&[], &[]);
    let second = story.next(EventWhat::Started).await;
    assert_ne!(first.attempt, second.attempt);
    let done = story.next(EventWhat::Done).await;
    assert_eq!(done.attempt, second.attempt);
    let winner = submitter.manifest(&job.key).await.unwrap().unwrap();

    zombie.signal(Signal::SIGCONT);
    let superseded = story.next(EventWhat::Superseded).await;
    assert_eq!(superseded.attempt, first.attempt);
    assert!(
        superseded.message.contains("with the same result"),
        "{}",
        superseded.message
    );
    assert_eq!(submitter.manifest(&job.key).await.unwrap().unwrap(), winner);
}

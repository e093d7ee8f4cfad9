//! SIGTERM: no new job, a checkpoint of the one in hand, and another worker goes on at once, to the
//! same result.

use crate::harness::{ECHO, FIRST_STEP, House, Story, counted, job};
use cedm_contract::{EventWhat, OutputName, Service, checkpoint_prefix};
use cedm_runtime::{Submitter, workers};
use nix::sys::signal::Signal;

/// No test waits this long: a job that comes again was given back.
const UNREACHED_S: f64 = 3600.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_job_goes_on_elsewhere_and_ends_the_same() {
    let harness = House::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("slow:60");
    let mut story = Story::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let mut first = harness.worker(&[], &[]);
    story.next(EventWhat::Progress).await;
    let beats = workers(&connection).await.unwrap();
    assert_eq!(beats.len(), 1);
    assert!(beats[0].metrics.starts_with("http://127.0.0.1:"));
    first.signal(Signal::SIGTERM);
    assert_eq!(first.ended().await, Some(0), "a drain is a good end");

    let _second = harness.worker(&[], &[]);
    story.next(EventWhat::Done).await;
    let manifest = submitter.manifest(&job.key).await.unwrap().unwrap();
    let read = async |name: OutputName| {
        let bytes = connection
            .store()
            .get(&manifest.output(name).unwrap().object.object)
            .await
            .unwrap()
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    assert_ne!(read(FIRST_STEP).await, "0", "it resumed");
    assert_eq!(read(ECHO).await, counted(60));
    crate::harness::eventually("checkpoints of a finished job are removed", async || {
        connection
            .store()
            .list(&checkpoint_prefix(&job.key))
            .await
            .unwrap()
            .is_empty()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_drains_than_deliveries_do_not_kill_a_job() {
    let harness = House::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("slow:100");
    let mut story = Story::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    for _ in 0..6 {
        let mut worker = harness.worker(&[], &[]);
        story.next(EventWhat::Started).await;
        worker.signal(Signal::SIGTERM);
        assert_eq!(worker.ended().await, Some(0));
        assert!(
            submitter
                .is_outstanding(job.kind(), &job.key)
                .await
                .unwrap()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_listen_is_given_back_when_the_grace_is_over() {
    let harness = House::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("deaf");
    let mut story = Story::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let mut worker = harness.worker(&["--grace-s", "0"], &[]);
    story.next(EventWhat::Started).await;
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended().await, Some(0));
    let mut second = harness.worker(&[], &[]);
    story.next(EventWhat::Started).await;
    second.signal(Signal::SIGKILL);
    assert_eq!(second.ended().await, None);
}

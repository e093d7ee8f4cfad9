//! SIGTERM: no new job, a checkpoint of the current one, and another worker continues at once, to
//! the same result.

use crate::harness::{ECHO, FIRST_STEP, Harness, JobEvents, counted, job};
use cedm_contract::{EventWhat, OutputName, Service, checkpoint_prefix};
use cedm_runtime::{Submitter, workers};
use nix::sys::signal::Signal;

/// Longer than any test waits: a job that is delivered again was returned to the queue.
const UNREACHED_S: f64 = 3600.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_job_continues_elsewhere_with_the_same_result() {
    let harness = Harness::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("slow:60");
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let mut first = harness.worker(&[], &[]);
    events.next(EventWhat::Progress).await;
    let heartbeats = workers(&connection).await.unwrap();
    assert_eq!(heartbeats.len(), 1);
    assert!(heartbeats[0].metrics.starts_with("http://127.0.0.1:"));
    first.signal(Signal::SIGTERM);
    assert_eq!(first.ended().await, Some(0), "a drain is a successful exit");

    let _second = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
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
    let harness = Harness::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("slow:100");
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    for _ in 0..6 {
        let mut worker = harness.worker(&[], &[]);
        events.next(EventWhat::Started).await;
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
async fn a_job_that_does_not_stop_is_returned_to_the_queue_after_the_grace_period() {
    let harness = Harness::with_ack_wait(UNREACHED_S).await;
    let connection = harness.connect(Service::Coordinator).await;
    let job = job("deaf");
    let mut events = JobEvents::of(&connection, &job).await;
    Submitter::new(&connection).submit(&job).await.unwrap();
    let mut worker = harness.worker(&["--grace-s", "0"], &[]);
    events.next(EventWhat::Started).await;
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.ended().await, Some(0));
    let mut second = harness.worker(&[], &[]);
    events.next(EventWhat::Started).await;
    second.signal(Signal::SIGKILL);
    assert_eq!(second.ended().await, None);
}

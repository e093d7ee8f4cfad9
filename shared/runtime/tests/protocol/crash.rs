//! The crash matrix: a worker dies at each failpoint in turn; the job ends with the same result
//! every time.

use crate::harness::{Harness, JobEvents, counted, job, leaves_queue};
use cedm_contract::{EventWhat, Service, attempt_prefix};
use cedm_runtime::{Submitter, objects_of};

async fn check(place: &str) {
    let harness = Harness::with_ack_wait(1.5).await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let job = job("slow:12");
    let mut events = JobEvents::of(&connection, &job).await;
    submitter.submit(&job).await.unwrap();
    let arguments = ["--checkpoint-every-s", "0.3"];
    let mut worker = harness.worker(&arguments, &[("CEDM_FAILPOINT", place)]);
    assert_eq!(worker.ended().await, None, "it dies {place}");
    let _second = harness.worker(&arguments, &[]);
    events.next(EventWhat::Done).await;
    leaves_queue(&submitter, &job).await;
    let manifest = submitter
        .manifest_or_discard(job.kind(), &job.key)
        .await
        .unwrap()
        .expect("one sound manifest");
    let object = connection
        .store()
        .get(&manifest.output(crate::harness::ECHO).unwrap().object.object)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        String::from_utf8(object.to_vec()).unwrap(),
        counted(12),
        "{place}"
    );
    let prefix = attempt_prefix(&job.key, &manifest.attempt);
    assert!(
        objects_of(&manifest)
            .iter()
            .all(|object| object.object.starts_with(&prefix)),
        "a manifest names its own attempt's objects only"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_upload() {
    check("after-upload").await;
}
#[tokio::test(flavor = "multi_thread")]
async fn before_manifest() {
    check("before-manifest").await;
}
#[tokio::test(flavor = "multi_thread")]
async fn after_manifest() {
    check("after-manifest").await;
}
#[tokio::test(flavor = "multi_thread")]
async fn after_event() {
    check("after-event").await;
}
#[tokio::test(flavor = "multi_thread")]
async fn after_acknowledgement() {
    check("after-acknowledgement").await;
}
#[tokio::test(flavor = "multi_thread")]
async fn inside_checkpoint() {
    check("inside-checkpoint").await;
}

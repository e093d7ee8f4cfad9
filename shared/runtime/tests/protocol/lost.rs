//! A result that is missing or damaged when a later job reads it is recomputed, and the later job
//! does not fail for it.

use crate::harness::{Harness, JobEvents, assert_no_dead_letters, job, job_after, leaves_queue};
use cedm_contract::{EventWhat, Job, Manifest, Service};
use cedm_runtime::{Connection, SubmitOutcome, Submitter, store::Body};

struct Scene {
    harness: Harness,
    connection: Connection,
    submitter: Submitter,
    maker: Job,
    made: Manifest,
}

/// A result, computed by a worker that has ended.
async fn scene() -> Scene {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let maker = job("made");
    let made = harness.result_of(&connection, &maker).await;
    Scene {
        harness,
        connection,
        submitter,
        maker,
        made,
    }
}

/// The reader leaves the queue without a dead letter, its input is recomputed, and then the reader
/// succeeds.
async fn is_recomputed(scene: Scene) {
    let reader = job_after("read", &[&scene.made]);
    let mut events = JobEvents::of(&scene.connection, &reader).await;
    scene.submitter.submit(&reader).await.unwrap();
    let _worker = scene.harness.worker(&["--max-attempts", "1"], &[]);
    let failed = events.next(EventWhat::Failed).await;
    assert!(
        failed.message.contains("input `images`"),
        "{}",
        failed.message
    );
    leaves_queue(&scene.submitter, &reader).await;
    assert_no_dead_letters(&scene.connection).await;

    // What the coordinator does after the event of the failure.
    assert!(
        scene
            .submitter
            .manifest(&scene.maker.key)
            .await
            .unwrap()
            .is_none(),
        "the broken result is discarded"
    );
    let mut remade = JobEvents::of(&scene.connection, &scene.maker).await;
    assert!(matches!(
        scene.submitter.submit(&scene.maker).await.unwrap(),
        SubmitOutcome::Queued
    ));
    remade.next(EventWhat::Done).await;
    assert!(matches!(
        scene.submitter.submit(&reader).await.unwrap(),
        SubmitOutcome::Queued
    ));
    events.next(EventWhat::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_is_recomputed() {
    let scene = scene().await;
    let object = &scene
        .made
        .output(crate::harness::ECHO)
        .unwrap()
        .object
        .object;
    scene.connection.store().delete(object).await.unwrap();
    is_recomputed(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_is_recomputed() {
    let scene = scene().await;
    let object = &scene
        .made
        .output(crate::harness::ECHO)
        .unwrap()
        .object
        .object;
    scene
        .connection
        .store()
        .put(object, Body::Bytes("evil".into()))
        .await
        .unwrap();
    is_recomputed(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_manifest_is_recomputed() {
    let scene = scene().await;
    let manifest = cedm_contract::manifest_key(&scene.maker.key);
    scene.connection.store().delete(&manifest).await.unwrap();
    is_recomputed(scene).await;
}

/// A crash after the broken result was discarded, before the reader left the queue: it is
/// redelivered and finds the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_during_the_repair_changes_nothing() {
    let scene = scene().await;
    let object = &scene
        .made
        .output(crate::harness::ECHO)
        .unwrap()
        .object
        .object;
    scene.connection.store().delete(object).await.unwrap();
    let reader = job_after("read", &[&scene.made]);
    let mut events = JobEvents::of(&scene.connection, &reader).await;
    scene.submitter.submit(&reader).await.unwrap();
    let mut dying = scene
        .harness
        .worker(&[], &[("CEDM_FAILPOINT", "after-input-lost")]);
    assert_eq!(dying.ended().await, None);
    events.next(EventWhat::Failed).await;
    assert!(
        scene
            .submitter
            .is_outstanding(reader.kind(), &reader.key)
            .await
            .unwrap()
    );
    is_recomputed(scene).await;
}

/// The same job gave another result: jobs that pin the old digest leave the queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_recomputed_result_that_differs_drops_its_readers() {
    let scene = scene().await;
    let mut other = scene.made.clone();
    other.digest = cedm_contract::Digest::of(b"another");
    let reader = job_after("read", &[&other]);
    let mut events = JobEvents::of(&scene.connection, &reader).await;
    scene.submitter.submit(&reader).await.unwrap();
    let _worker = scene.harness.worker(&["--max-attempts", "1"], &[]);
    let failed = events.next(EventWhat::Failed).await;
    assert!(
        failed.message.contains("was computed again and differs"),
        "{}",
        failed.message
    );
    leaves_queue(&scene.submitter, &reader).await;
    assert_no_dead_letters(&scene.connection).await;
    assert_eq!(
        scene.submitter.manifest(&scene.maker.key).await.unwrap(),
        Some(scene.made),
        "the sound result stays"
    );
}

//! A result that is gone or damaged when a later job reads it: it is made again, and the later job
//! does not die of it.

use crate::harness::{House, Story, eventually, job, job_after};
use cedm_contract::{EventWhat, Job, Manifest, Service};
use cedm_runtime::{Connection, DeadLetters, SubmitOutcome, Submitter, store::Body};

struct Scene {
    harness: House,
    connection: Connection,
    submitter: Submitter,
    maker: Job,
    made: Manifest,
}

/// A result, made by a worker that has ended.
async fn scene() -> Scene {
    let harness = House::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let maker = job("made");
    let mut story = Story::of(&connection, &maker).await;
    submitter.submit(&maker).await.unwrap();
    let mut worker = harness.worker(&["--max-jobs", "1"], &[]);
    story.next(EventWhat::Done).await;
    assert_eq!(worker.ended().await, Some(0));
    let made = submitter.manifest(&maker.key).await.unwrap().unwrap();
    Scene {
        harness,
        connection,
        submitter,
        maker,
        made,
    }
}

/// The reader leaves the queue without a letter, the maker is done again, and then the reader can
/// be.
async fn is_made_again(scene: Scene) {
    let reader = job_after("read", &[&scene.made]);
    let mut story = Story::of(&scene.connection, &reader).await;
    scene.submitter.submit(&reader).await.unwrap();
    let _worker = scene.harness.worker(&["--max-attempts", "1"], &[]);
    let failed = story.next(EventWhat::Failed).await;
    assert!(
        failed.message.contains("input `previous`"),
        "{}",
        failed.message
    );
    eventually("the reader leaves the queue", async || {
        (!scene
            .submitter
            .is_outstanding(reader.kind(), &reader.key)
            .await
            .unwrap())
        .then_some(())
    })
    .await;
    assert!(
        DeadLetters::new(&scene.connection)
            .list()
            .await
            .unwrap()
            .is_empty()
    );

    // What the coordinator does when it hears of the failure.
    assert!(
        scene
            .submitter
            .manifest(&scene.maker.key)
            .await
            .unwrap()
            .is_none(),
        "the broken result is discarded"
    );
    let mut remade = Story::of(&scene.connection, &scene.maker).await;
    assert!(matches!(
        scene.submitter.submit(&scene.maker).await.unwrap(),
        SubmitOutcome::Queued
    ));
    remade.next(EventWhat::Done).await;
    assert!(matches!(
        scene.submitter.submit(&reader).await.unwrap(),
        SubmitOutcome::Queued
    ));
    story.next(EventWhat::Done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_gone() {
    let scene = scene().await;
    let object = &scene
        .made
        .output(crate::harness::ECHO)
        .unwrap()
        .object
        .object;
    scene.connection.store().delete(object).await.unwrap();
    is_made_again(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_bytes_changed() {
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
    is_made_again(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_gone() {
    let scene = scene().await;
    let manifest = cedm_contract::manifest_key(&scene.maker.key);
    scene.connection.store().delete(&manifest).await.unwrap();
    is_made_again(scene).await;
}

/// A crash after the broken result was discarded, before the reader left the queue: it comes again
/// and finds the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_it() {
    let scene = scene().await;
    let object = &scene
        .made
        .output(crate::harness::ECHO)
        .unwrap()
        .object
        .object;
    scene.connection.store().delete(object).await.unwrap();
    let reader = job_after("read", &[&scene.made]);
    let mut story = Story::of(&scene.connection, &reader).await;
    scene.submitter.submit(&reader).await.unwrap();
    let mut dying = scene
        .harness
        .worker(&[], &[("CEDM_FAILPOINT", "after-input-lost")]);
    assert_eq!(dying.ended().await, None);
    story.next(EventWhat::Failed).await;
    assert!(
        scene
            .submitter
            .is_outstanding(reader.kind(), &reader.key)
            .await
            .unwrap()
    );
    is_made_again(scene).await;
}

/// The same work gave another result: a job that pins the old one is wanted by nobody any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_was_made_again_and_differs() {
    let scene = scene().await;
    let mut other = scene.made.clone();
    other.digest = cedm_contract::Digest::of(b"another");
    let reader = job_after("read", &[&other]);
    let mut story = Story::of(&scene.connection, &reader).await;
    scene.submitter.submit(&reader).await.unwrap();
    let _worker = scene.harness.worker(&["--max-attempts", "1"], &[]);
    let failed = story.next(EventWhat::Failed).await;
    assert!(
        failed.message.contains("was made again and differs"),
        "{}",
        failed.message
    );
    eventually("it leaves the queue", async || {
        (!scene
            .submitter
            .is_outstanding(reader.kind(), &reader.key)
            .await
            .unwrap())
        .then_some(())
    })
    .await;
    assert!(
        DeadLetters::new(&scene.connection)
            .list()
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        scene.submitter.manifest(&scene.maker.key).await.unwrap(),
        Some(scene.made),
        "the sound result stays"
    );
}

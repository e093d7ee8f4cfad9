//! A worker whose store is another than the coordinator's.

use crate::{
    harness::{ECHO, Harness, JobEvents, eventually, job, job_after},
    process::{address, get},
};
use cedm_contract::{EventWhat, IDENTITY_KEY, Job, Service};
use cedm_runtime::{
    Bucket, Connection, EXIT_OTHER_STORE, EventFilter, SYSTEM, Submitter, past_events, store::Body,
};

/// It has the same keys and another bucket, as after a typing error. It performs nothing and calls
/// nothing lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_bucket_performs_nothing() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let made = harness.result_of(&connection, &job("made")).await;

    std::fs::create_dir(harness.root.path().join("store/objects/other")).unwrap();
    let _stray = harness.worker(&[], &[("CEDM_S3_BUCKET", "other")]);
    let reader = job_after("read", &[&made]);
    let mut events = JobEvents::of(&connection, &reader).await;
    submitter.submit(&reader).await.unwrap();
    let address = address(&connection).await;
    refuses_to_work(&address, &submitter, &reader).await;

    let _right = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    assert_never_failed(&connection, &reader).await;
}

/// The worker at this address says why it is not ready, and the job stays in the queue.
async fn refuses_to_work(address: &str, submitter: &Submitter, job: &Job) {
    eventually("it says why it is not ready", async || {
        let (status, why) = get(address, "/readyz").await;
        (status == 503 && why.contains("another store")).then_some(())
    })
    .await;
    let outstanding = submitter.is_outstanding(job.kind(), &job.key).await;
    assert!(outstanding.unwrap());
}

async fn assert_never_failed(connection: &Connection, job: &Job) {
    let filter = EventFilter {
        key: Some(job.key.clone()),
        ..EventFilter::default()
    };
    let past = past_events(connection, &filter).await.unwrap();
    assert!(
        past.iter().all(|event| event.what != EventWhat::Failed),
        "{past:?}"
    );
}

/// What the coordinator says when it starts.
async fn publish_identity(connection: &Connection) {
    let id = connection.store().get(IDENTITY_KEY).await.unwrap().unwrap();
    let bucket = Bucket::open(connection, SYSTEM).await.unwrap();
    bucket.create("store", id).await.unwrap();
}

/// A store with an id, which the first submission writes, and a second bucket beside it.
async fn two_buckets() -> (Harness, Connection) {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    Submitter::new(&connection)
        .submit(&job("first"))
        .await
        .unwrap();
    std::fs::create_dir(harness.root.path().join("store/objects/other")).unwrap();
    (harness, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_bucket_refuses_to_start() {
    let (harness, connection) = two_buckets().await;
    publish_identity(&connection).await;
    let mut stray = harness.worker(&[], &[("CEDM_S3_BUCKET", "other")]);
    assert_eq!(stray.ended().await, Some(EXIT_OTHER_STORE));
}

/// It started before anybody knew which store is the coordinator's.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_worker_ends_when_its_bucket_turns_out_to_be_another() {
    let (harness, connection) = two_buckets().await;
    let submitter = Submitter::new(&connection);
    let first = job("first");
    submitter.cancel(first.kind(), &first.key).await.unwrap();
    let mut stray = harness.worker(&[], &[("CEDM_S3_BUCKET", "other")]);
    address(&connection).await;
    publish_identity(&connection).await;
    assert_eq!(stray.ended().await, Some(EXIT_OTHER_STORE));
}

/// The bucket behind a running worker is replaced: it calls nothing lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_store_is_replaced_calls_nothing_lost() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let maker = job("made");
    let mut events = JobEvents::of(&connection, &maker).await;
    submitter.submit(&maker).await.unwrap();
    let _worker = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    let made = submitter.manifest(&maker.key).await.unwrap().unwrap();
    let address = address(&connection).await;

    let store = connection.store();
    let object = &made.output(ECHO).unwrap().object.object;
    store.delete(object).await.unwrap();
    let other = Body::Bytes(ulid::Ulid::generate().to_string().into());
    store.put(IDENTITY_KEY, other).await.unwrap();
    let reader = job_after("read", &[&made]);
    submitter.submit(&reader).await.unwrap();
    refuses_to_work(&address, &submitter, &reader).await;
    assert_never_failed(&connection, &reader).await;
}

/// Same id, and yet the inputs of job after job are missing: the worker itself is in doubt, and
/// takes one job from time to time, until one succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_finds_three_inputs_in_a_row_missing_takes_itself_out() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let _worker = harness.worker(&[], &[]);
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        let maker = job(name);
        let mut events = JobEvents::of(&connection, &maker).await;
        submitter.submit(&maker).await.unwrap();
        events.next(EventWhat::Done).await;
        made.push(submitter.manifest(&maker.key).await.unwrap().unwrap());
    }
    let address = address(&connection).await;
    for manifest in &made {
        let object = &manifest.output(ECHO).unwrap().object.object;
        connection.store().delete(object).await.unwrap();
    }
    for (count, manifest) in made.iter().enumerate() {
        assert_eq!(
            get(&address, "/readyz").await.0,
            200,
            "after {count} of them"
        );
        let reader = job_after("read", &[manifest]);
        let mut events = JobEvents::of(&connection, &reader).await;
        submitter.submit(&reader).await.unwrap();
        events.next(EventWhat::Failed).await;
    }
    eventually("it says why it is not ready", async || {
        let (status, why) = get(&address, "/readyz").await;
        (status == 503 && why.contains("the inputs of 3 jobs in a row are missing")).then_some(())
    })
    .await;
    let sound = job("sound");
    let mut events = JobEvents::of(&connection, &sound).await;
    submitter.submit(&sound).await.unwrap();
    events.next(EventWhat::Done).await;
    eventually("it is ready again", async || {
        (get(&address, "/readyz").await.0 == 200).then_some(())
    })
    .await;
}

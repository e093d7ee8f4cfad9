//! A load balancer that resets answers in the middle: reading goes on where it stopped, and an
//! object that cannot be had for a while makes no dead letter.

use crate::{
    faulty_proxy::FaultyProxy,
    harness::{Harness, JobEvents, job, job_after},
};
use cedm_contract::{Digest, EventWhat, Service};
use cedm_runtime::{
    DeadLetters, Submitter, chain,
    store::{Body, S3Settings, S3Store, Store, StoreErrorKind},
};

async fn store_at(harness: &Harness, endpoint: String) -> S3Store {
    let settings = S3Settings {
        endpoint: Some(endpoint),
        bucket: "cedm".to_owned(),
        ..S3Settings::default()
    };
    let keys = harness.args(Service::Coordinator).s3_keys;
    S3Store::open_with(&settings, keys).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_read_goes_on_where_it_stopped() {
    let harness = Harness::start().await;
    let direct = store_at(&harness, format!("http://{}", harness.s3_address())).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i * 31 % 251) as u8).collect();
    direct
        .put("object/large", Body::Bytes(bytes.clone().into()))
        .await
        .unwrap();
    let proxy = FaultyProxy::cutting_answers(harness.s3_address(), 200_000).await;
    let store = store_at(&harness, format!("http://{}", proxy.address)).await;
    let file = harness.root.path().join("large");
    let found = store.download("object/large", &file).await.unwrap();
    assert_eq!(found, Some((bytes.len() as u64, Digest::of(&bytes))));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert_eq!(store.get("object/large").await.unwrap().unwrap(), bytes);
    let middle = store.get_range("object/large", 500_000..1_500_000).await;
    assert_eq!(middle.unwrap().unwrap(), bytes[500_000..1_500_000]);
    assert!(proxy.faulty() > 20, "{} connections", proxy.faulty());
}

/// The rest is asked for with the version that was begun.
#[tokio::test(flavor = "multi_thread")]
async fn halves_of_two_versions_are_never_put_together() {
    let harness = Harness::start().await;
    let direct = store_at(&harness, format!("http://{}", harness.s3_address())).await;
    let version = |byte: u8| Body::Bytes(vec![byte; 1_000_000].into());
    direct.put("object/x", version(1)).await.unwrap();
    let proxy = FaultyProxy::cutting_answers(harness.s3_address(), 100_000).await;
    let store = store_at(&harness, format!("http://{}", proxy.address)).await;
    let reading = tokio::spawn(async move { store.get("object/x").await });
    while proxy.faulty() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    direct.put("object/x", version(2)).await.unwrap();
    match reading.await.unwrap() {
        Ok(found) => {
            let found = found.unwrap();
            assert!(found.iter().all(|byte| *byte == found[0]), "a mixture");
        }
        Err(error) => assert!(chain(&error).contains("replaced"), "{}", chain(&error)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_had_uses_up_no_tries() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let maker = job("large:400000");
    let mut events = JobEvents::of(&connection, &maker).await;
    submitter.submit(&maker).await.unwrap();
    let first = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    drop(first);
    let made = submitter.manifest(&maker.key).await.unwrap().unwrap();

    let proxy = FaultyProxy::cutting_answers(harness.s3_address(), 6_000).await;
    let endpoint = format!("http://{}", proxy.address);
    let reader = job_after("read", &[&made]);
    let mut events = JobEvents::of(&connection, &reader).await;
    submitter.submit(&reader).await.unwrap();
    // A single failure that counts would make the job dead.
    let empty = harness.root.path().join("no-cache");
    let _worker = harness.worker(
        &["--max-attempts", "1"],
        &[
            ("CEDM_S3_ENDPOINT", &endpoint),
            ("CEDM_CACHE_DIR", empty.to_str().unwrap()),
        ],
    );
    let failed = events.next(EventWhat::Failed).await;
    assert!(
        failed.message.contains("interrupted at byte"),
        "{}",
        failed.message
    );
    proxy.heal();
    events.next(EventWhat::Done).await;
    let letters = DeadLetters::new(&connection).list().await.unwrap();
    assert!(letters.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_progress_ends() {
    let harness = Harness::start().await;
    let direct = store_at(&harness, format!("http://{}", harness.s3_address())).await;
    let bytes = vec![5; 1_000_000];
    direct
        .put("object/x", Body::Bytes(bytes.into()))
        .await
        .unwrap();
    let proxy = FaultyProxy::cutting_answers(harness.s3_address(), 3_000).await;
    let store = store_at(&harness, format!("http://{}", proxy.address)).await;
    let error = store.get("object/x").await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    assert!(proxy.faulty() < 40, "{} connections", proxy.faulty());
}

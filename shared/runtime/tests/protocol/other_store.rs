//! A worker whose store is another than the coordinator's.

use crate::harness::{Harness, JobEvents, eventually, job, job_after};
use cedm_contract::{EventWhat, Service};
use cedm_runtime::{EventFilter, Submitter, past_events};

/// It has the same keys and another bucket, as after a typing error. It performs nothing and calls
/// nothing lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_bucket_performs_nothing() {
    let harness = Harness::start().await;
    let connection = harness.connect(Service::Coordinator).await;
    let submitter = Submitter::new(&connection);
    let maker = job("made");
    let mut events = JobEvents::of(&connection, &maker).await;
    submitter.submit(&maker).await.unwrap();
    let mut first = harness.worker(&["--max-jobs", "1"], &[]);
    events.next(EventWhat::Done).await;
    assert_eq!(first.ended().await, Some(0), "its heartbeat is gone, too");
    let made = submitter.manifest(&maker.key).await.unwrap().unwrap();

    std::fs::create_dir(harness.root.path().join("store/objects/other")).unwrap();
    let _stray = harness.worker(&[], &[("CEDM_S3_BUCKET", "other")]);
    let reader = job_after("read", &[&made]);
    let mut events = JobEvents::of(&connection, &reader).await;
    submitter.submit(&reader).await.unwrap();
    let heartbeat = eventually("a heartbeat", async || {
        cedm_runtime::workers(&connection).await.unwrap().pop()
    })
    .await;
    let address = heartbeat.metrics.strip_prefix("http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap().to_owned();
    eventually("it says why it is not ready", async || {
        let (status, why) = crate::process::get(&address, "/readyz").await;
        (status == 503 && why.contains("another store")).then_some(())
    })
    .await;
    assert!(
        submitter
            .is_outstanding(reader.kind(), &reader.key)
            .await
            .unwrap()
    );

    let _right = harness.worker(&[], &[]);
    events.next(EventWhat::Done).await;
    let filter = EventFilter {
        key: Some(reader.key.clone()),
        ..EventFilter::default()
    };
    let past = past_events(&connection, &filter).await.unwrap();
    assert!(
        past.iter().all(|event| event.what != EventWhat::Failed),
        "{past:?}"
    );
}

//! Stores that never take a create-only put: the writer gives up after a few requests.

use crate::{open, raw::answering};
use cedm_runtime::{
    chain, create_only,
    store::{Store, StoreErrorKind, probe_create_only},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A server that answers every request with one status and counts them.
async fn always(status: &'static str) -> (String, Arc<AtomicU64>) {
    answering(status, "", "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_without_end_ends() {
    let (endpoint, requests) = always("409 Conflict").await;
    let begun = Instant::now();
    let written = create_only(&open(&endpoint).await, "dataset/a", "x".into()).await;
    let error = written.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    assert!(chain(&error).contains("409"), "{}", chain(&error));
    let requests = requests.load(Ordering::Relaxed);
    assert!((2..=20).contains(&requests), "{requests} requests");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_create_only_puts_names_the_lease() {
    let (endpoint, requests) = always("501 Not Implemented").await;
    let store: Arc<dyn Store> = Arc::new(open(&endpoint).await);
    let written = create_only(store.as_ref(), "dataset/a", "x".into()).await;
    let error = written.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied, "not tried again");
    assert!(
        chain(&error).contains("CEDM_COMMIT_LEASE"),
        "{}",
        chain(&error)
    );
    assert!(requests.load(Ordering::Relaxed) <= 4);

    // At start.
    let error = probe_create_only(&store).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
    assert!(
        chain(&error).contains("--commit-lease"),
        "{}",
        chain(&error)
    );
}

/// A proxy that cannot reach the store says 404, and nothing is missing for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_404_that_is_not_the_stores_is_no_missing_object() {
    let (endpoint, _) = always("404 Not Found").await;
    let store = open(&endpoint).await;
    let error = store.get("manifest/a").await.expect_err("GET");
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
    let error = store.size("manifest/a").await.expect_err("HEAD");
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
}

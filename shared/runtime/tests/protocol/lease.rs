//! A store without create-only puts is refused, unless commits are guarded by a lease.

use crate::harness::Harness;
use cedm_contract::Service;
use cedm_runtime::{Connection, chain, store::RamStore};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_makes_up_for_missing_create_only_puts() {
    let harness = Harness::start().await;
    let mut args = harness.args(Service::Coordinator);
    let store = || Arc::new(RamStore::default().that_ignores_if_none_match());
    let unfit = Connection::with_store(&args, "coordinator", store())
        .await
        .unwrap();
    let refusal = chain(&unfit.probe_store().await.unwrap_err());
    assert!(
        refusal.contains("8 of 8 concurrent create-only writers won"),
        "{refusal}"
    );
    args.commit_lease = true;
    let guarded = Connection::with_store(&args, "coordinator", store())
        .await
        .unwrap();
    guarded.probe_store().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_take_leases() {
    let harness = Harness::start().await;
    let mut args = harness.args(Service::Trainer);
    args.commit_lease = true;
    let store = Arc::new(RamStore::default().that_ignores_if_none_match());
    Connection::with_store(&args, "trainer", store)
        .await
        .unwrap()
        .probe_store()
        .await
        .unwrap();
}

//! A store that lets two writers win is refused, unless commits are guarded by a lease.

use crate::harness::House;
use cedm_contract::Service;
use cedm_runtime::{Connection, store::RamStore};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_makes_an_unfit_store_fit() {
    let harness = House::start().await;
    let mut args = harness.args(Service::Coordinator);
    let store = || Arc::new(RamStore::default().that_lets_all_win());
    let unfit = Connection::with_store(&args, "coordinator", store())
        .await
        .unwrap();
    let refusal = unfit.probe_store().await.unwrap_err().to_string();
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
    let harness = House::start().await;
    let mut args = harness.args(Service::Trainer);
    args.commit_lease = true;
    let store = Arc::new(RamStore::default().that_lets_all_win());
    Connection::with_store(&args, "trainer", store)
        .await
        .unwrap()
        .probe_store()
        .await
        .unwrap();
}

//! Sweeps in the store: `sweep/<id>/spec` is written by whoever submits, `sweep/<id>/done` by the
//! coordinator, `sweep/<id>/cancelled` by whoever cancels. The bucket `sweeps` only tells quickly
//! that there is something new.

use anyhow::Context;
use cedm_contract::{SweepId, sweep_key};
use cedm_runtime::{Bucket, Connection, SWEEPS, store::Store};
use cedm_sweep::Sweep;
use std::collections::BTreeMap;

/// What a sweep folder holds.
#[derive(Default)]
struct Marks {
    spec: bool,
    ended: bool,
}

/// Sweeps that are submitted and neither done nor cancelled, from the store's own listing.
pub(crate) async fn listed(store: &dyn Store) -> anyhow::Result<Vec<SweepId>> {
    let mut folders: BTreeMap<String, Marks> = BTreeMap::new();
    for object in store.list("sweep/").await? {
        let mut parts = object.key.splitn(3, '/').skip(1);
        let (Some(id), Some(what)) = (parts.next(), parts.next()) else {
            continue;
        };
        let marks = folders.entry(id.to_owned()).or_default();
        marks.spec |= what == "spec";
        marks.ended |= what == "done" || what == "cancelled";
    }
    let active = folders
        .into_iter()
        .filter(|(_, marks)| marks.spec && !marks.ended);
    Ok(active.filter_map(|(id, _)| id.parse().ok()).collect())
}

/// Whether a sweep is done or cancelled.
pub(crate) async fn has_ended(store: &dyn Store, id: &SweepId) -> anyhow::Result<bool> {
    for mark in ["done", "cancelled"] {
        if store.size(&sweep_key(id, mark)).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A sweep as submitted; `None` when there is none of this name (yet).
pub(crate) async fn load(store: &dyn Store, id: &SweepId) -> anyhow::Result<Option<Sweep>> {
    let Some(bytes) = store.get(&sweep_key(id, "spec")).await? else {
        return Ok(None);
    };
    Ok(Some(Sweep::decode(&bytes).with_context(|| {
        format!("read {}", sweep_key(id, "spec"))
    })?))
}

/// Puts sweeps into the bucket that a wiped broker has forgotten.
pub(crate) async fn remember(connection: &Connection, active: &[SweepId]) -> anyhow::Result<()> {
    let bucket = Bucket::open(connection, SWEEPS).await?;
    for id in active {
        if bucket.get(id.as_str()).await?.is_none() {
            bucket.put(id.as_str(), b"active".as_slice()).await?;
            tracing::info!(sweep = %id, "active sweep found in the store");
        }
    }
    Ok(())
}

/// Takes a sweep that has ended out of the bucket.
pub(crate) async fn forget(connection: &Connection, id: &SweepId) -> anyhow::Result<()> {
    Ok(Bucket::open(connection, SWEEPS)
        .await?
        .remove(id.as_str())
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_runtime::store::{Body, RamStore};

    #[tokio::test]
    async fn active_is_what_has_a_spec_and_no_end() {
        let store = RamStore::default();
        for key in [
            "sweep/a/spec",
            "sweep/b/spec",
            "sweep/b/done",
            "sweep/c/spec",
            "sweep/c/cancelled",
            "sweep/d/done",
            "sweep/e/spec",
            "sweep/e/note",
        ] {
            store
                .put(key, Body::Bytes(b"{}".as_slice().into()))
                .await
                .unwrap();
        }
        let ids: Vec<String> = listed(&store)
            .await
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(ids, ["a", "e"]);
        assert!(has_ended(&store, &"c".parse().unwrap()).await.unwrap());
        assert!(!has_ended(&store, &"a".parse().unwrap()).await.unwrap());
    }

    #[tokio::test]
    async fn a_sweep_that_cannot_be_read_says_which() {
        let store = RamStore::default();
        let id: SweepId = "broken".parse().unwrap();
        assert!(load(&store, &id).await.unwrap().is_none());
        store
            .put(
                "sweep/broken/spec",
                Body::Bytes(b"{\"schema\": 1}".as_slice().into()),
            )
            .await
            .unwrap();
        assert!(
            format!("{:#}", load(&store, &id).await.unwrap_err())
                .starts_with("read sweep/broken/spec: sweep cannot be decoded")
        );
    }
}

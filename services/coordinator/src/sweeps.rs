//! Sweeps in the store: `sweep/<id>/spec` is written by `cedm submit`, `sweep/<id>/cancelled` by
//! `cedm cancel`, `sweep/<id>/done` by the coordinator. The key-value bucket `sweeps` only notifies
//! coordinators of changes; the store decides.

use anyhow::Context;
use cedm_contract::{SweepId, sweep_key};
use cedm_runtime::{Bucket, Connection, SWEEPS, store::Store};
use cedm_sweep::Sweep;
use std::collections::BTreeMap;

/// Which objects exist below `sweep/<id>/`.
#[derive(Default)]
struct Objects {
    spec: bool,
    ended: bool,
}

/// Submitted sweeps that are neither done nor cancelled, from a listing of the store.
pub(crate) async fn list_active(store: &dyn Store) -> anyhow::Result<Vec<SweepId>> {
    let mut folders: BTreeMap<String, Objects> = BTreeMap::new();
    for object in store.list("sweep/").await? {
        let mut parts = object.key.splitn(3, '/').skip(1);
        let (Some(id), Some(what)) = (parts.next(), parts.next()) else {
            continue;
        };
        let objects = folders.entry(id.to_owned()).or_default();
        objects.spec |= what == "spec";
        objects.ended |= what == "done" || what == "cancelled";
    }
    let active = folders
        .into_iter()
        .filter(|(_, objects)| objects.spec && !objects.ended);
    Ok(active.filter_map(|(id, _)| id.parse().ok()).collect())
}

/// Whether a sweep is done or cancelled.
pub(crate) async fn has_ended(store: &dyn Store, id: &SweepId) -> anyhow::Result<bool> {
    for name in ["done", "cancelled"] {
        if store.size(&sweep_key(id, name)).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A sweep as submitted; `None` when there is none of this name.
pub(crate) async fn load(store: &dyn Store, id: &SweepId) -> anyhow::Result<Option<Sweep>> {
    let Some(bytes) = store.get(&sweep_key(id, "spec")).await? else {
        return Ok(None);
    };
    Ok(Some(Sweep::decode(&bytes).with_context(|| {
        format!("read {}", sweep_key(id, "spec"))
    })?))
}

/// Restores the bucket's entries for active sweeps, which a broker that lost its data does not have.
pub(crate) async fn restore_entries(
    connection: &Connection,
    active: &[SweepId],
) -> anyhow::Result<()> {
    let bucket = Bucket::open(connection, SWEEPS).await?;
    for id in active {
        if bucket.get(id.as_str()).await?.is_none() {
            bucket.put(id.as_str(), b"active".as_slice()).await?;
            tracing::info!(sweep = %id, "restored the bucket entry of an active sweep");
        }
    }
    Ok(())
}

/// Removes the bucket's entry of a sweep that has ended.
pub(crate) async fn remove_entry(connection: &Connection, id: &SweepId) -> anyhow::Result<()> {
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
    async fn sweeps_with_a_spec_and_no_end_mark_are_active() {
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
        let ids: Vec<String> = list_active(&store)
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
    async fn the_error_of_an_unreadable_sweep_names_its_object() {
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

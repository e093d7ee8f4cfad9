//! Sweeps in the store: `sweep/<id>/spec` is written by `cedm submit`, `sweep/<id>/cancelled` by
//! `cedm cancel`, `sweep/<id>/paused` by `cedm pause`, `sweep/<id>/done` by the coordinator. The
//! key-value bucket `sweeps` only notifies coordinators of changes; the store decides.

use anyhow::Context;
use cedm_contract::{SWEEP_PREFIX, SweepId, sweep_key};
use cedm_runtime::{
    Bucket, Connection, Place, SWEEPS, chain,
    store::{Listed, Store, StoreErrorKind},
    undecodable,
};
use cedm_sweep::{
    Sweep,
    lifecycle::{Marks, SPEC, strange_keys},
};
use std::collections::BTreeMap;

/// What tells one stored spec from another under the same name, without reading it: size and time
/// of its last change; zeros where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpecStamp {
    size: u64,
    modified_ms: u64,
}

/// What a listing says of a sweep.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ListedSweep {
    pub(crate) marks: Marks,
    pub(crate) spec: SpecStamp,
}

/// Submitted sweeps without an end mark, from a listing of the store.
pub(crate) async fn list_active(
    store: &dyn Store,
) -> anyhow::Result<BTreeMap<SweepId, ListedSweep>> {
    let objects = store.list(SWEEP_PREFIX).await?;
    let keys: Vec<&str> = objects.iter().map(|object| object.key.as_str()).collect();
    for key in strange_keys(&keys) {
        undecodable(Place::Sweeps, key, "no sweep has an object of this name");
    }
    let mut active = by_sweep(&objects);
    active.retain(|_, listed| listed.marks.is_active());
    Ok(active)
}

/// What a listing says of one sweep.
pub(crate) async fn listed(store: &dyn Store, id: &SweepId) -> anyhow::Result<ListedSweep> {
    let objects = store.list(&sweep_key(id, "")).await?;
    Ok(by_sweep(&objects).remove(id).unwrap_or_default())
}

fn by_sweep(objects: &[Listed]) -> BTreeMap<SweepId, ListedSweep> {
    let marks = Marks::by_sweep(objects.iter().map(|object| object.key.as_str()));
    let stamps: BTreeMap<&str, SpecStamp> = objects
        .iter()
        .map(|object| {
            let (size, modified_ms) = (object.size, object.modified_ms);
            (object.key.as_str(), SpecStamp { size, modified_ms })
        })
        .collect();
    let listed = marks.into_iter().map(|(id, marks)| {
        let spec = stamps.get(sweep_key(&id, SPEC).as_str()).copied();
        let spec = spec.unwrap_or_default();
        (id, ListedSweep { marks, spec })
    });
    listed.collect()
}

/// Which of a sweep's objects exist.
pub(crate) async fn marks(store: &dyn Store, id: &SweepId) -> anyhow::Result<Marks> {
    Ok(listed(store, id).await?.marks)
}

/// Whether a sweep has an end mark.
pub(crate) async fn has_ended(store: &dyn Store, id: &SweepId) -> anyhow::Result<bool> {
    Ok(marks(store, id).await?.has_ended())
}

/// What is stored under a sweep's name.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// Nothing: it was never submitted, or is removed.
    Nothing,
    /// The sweep as submitted.
    Sweep(Box<Sweep>),
    /// Something that is no sweep for this program, and why.
    Unreadable(String),
}

/// Reads a sweep.
///
/// # Errors
/// When the store does not answer: that says nothing of the sweep.
pub(crate) async fn load(store: &dyn Store, id: &SweepId) -> anyhow::Result<Loaded> {
    let key = sweep_key(id, SPEC);
    let bytes = match store.get(&key).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Loaded::Nothing),
        Err(error) if error.kind == StoreErrorKind::Damaged => {
            return Ok(Loaded::Unreadable(chain(&error)));
        }
        Err(error) => return Err(error).with_context(|| format!("read {key}")),
    };
    Ok(match Sweep::read(id, &bytes) {
        Ok(sweep) => Loaded::Sweep(Box::new(sweep)),
        Err(error) => {
            undecodable(Place::Sweeps, &key, &error.to_string());
            Loaded::Unreadable(format!("object `{key}`: {error}"))
        }
    })
}

/// Restores the bucket's entries for active sweeps, which a broker that lost its data does not
/// have, and removes those that are no sweep's: the bucket can be rebuilt at any time.
pub(crate) async fn restore_entries(
    connection: &Connection,
    active: impl IntoIterator<Item = &SweepId>,
) -> anyhow::Result<()> {
    let bucket = Bucket::open(connection, SWEEPS).await?;
    for entry in bucket.entries().await? {
        if let Err(error) = entry.key.parse::<SweepId>() {
            undecodable(Place::SweepEntries, &entry.key, &error.to_string());
            bucket.remove(&entry.key).await?;
        }
    }
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
            "sweep/f/spec",
            "sweep/f/done",
            "sweep/f/reopened-1",
        ] {
            store
                .put(key, Body::Bytes(b"{}".as_slice().into()))
                .await
                .unwrap();
        }
        let ids: Vec<String> = list_active(&store)
            .await
            .unwrap()
            .keys()
            .map(ToString::to_string)
            .collect();
        assert_eq!(ids, ["a", "e", "f"]);
        assert!(has_ended(&store, &"c".parse().unwrap()).await.unwrap());
        assert!(!has_ended(&store, &"a".parse().unwrap()).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_no_sweep_is_said_with_its_object_and_an_outage_is_an_error() {
        let store = RamStore::with_faults(|op, key| match (op, key) {
            ("get", "sweep/away/spec") => cedm_runtime::store::InjectedFault::Before,
            _ => cedm_runtime::store::InjectedFault::None,
        });
        let id = |id: &str| id.parse::<SweepId>().unwrap();
        let nothing = load(&store, &id("none")).await.unwrap();
        assert!(matches!(nothing, Loaded::Nothing));
        for bytes in [b"{\"schema\": 1}".as_slice(), b"\0\xff\x80 garbage", b""] {
            store
                .put("sweep/broken/spec", Body::Bytes(bytes.into()))
                .await
                .unwrap();
            let Loaded::Unreadable(reason) = load(&store, &id("broken")).await.unwrap() else {
                panic!("{bytes:?} was taken for a sweep");
            };
            assert!(
                reason.starts_with("object `sweep/broken/spec`: sweep cannot be decoded"),
                "{reason}"
            );
        }
        assert!(load(&store, &id("away")).await.is_err());
    }
}

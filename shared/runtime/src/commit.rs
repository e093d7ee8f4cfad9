//! The commit: one create-only put of the manifest (`If-None-Match: *`), after all objects are
//! stored.
//!
//! Several attempts at a job may run at once, since delivery is at least once and a worker cannot
//! know that it is too slow. The store lets exactly one of them create the manifest; the others
//! find it and discard their own result. A put whose answer is lost may have happened or not: the
//! manifest is read back, and the attempt that it names has won.

use crate::{
    create_only::ROUNDS,
    error::chain,
    store::{Created, Store, StoreError, StoreErrorKind},
    verify::{LookUpError, Quarantine, StoredResult, Verifier},
};
use bytes::Bytes;
use cedm_contract::{Attempt, Manifest, manifest_key};

/// Which attempt's result is committed.
#[derive(Debug)]
pub enum Committed {
    /// This attempt's manifest was stored first and is the result.
    Ours,
    /// Another attempt was first; its manifest.
    Theirs(Box<Manifest>),
}

/// Commits a manifest whose objects are all uploaded.
pub(crate) async fn commit(
    store: &dyn Store,
    verifier: &Verifier,
    manifest: &Manifest,
) -> Result<Committed, LookUpError> {
    let name = manifest_key(&manifest.key);
    let bytes = Bytes::from(manifest.encode());
    // Not the whole attempt, which is another one in each run of a simulation.
    let Attempt {
        sequence, delivery, ..
    } = manifest.attempt;
    let seed = format!("{name} {sequence}-{delivery}");
    let mut delays = ROUNDS.delays(seed.as_bytes());
    loop {
        let reason = match commit_once(store, verifier, manifest, &name, &bytes).await? {
            Round::Settled(committed) => return Ok(committed),
            Round::Unclear(reason) => reason,
        };
        let Some(delay) = delays.next() else {
            return Err(StoreError::new(
                "create",
                &name,
                StoreErrorKind::Unavailable,
                format!("no clear answer after several rounds: {reason}"),
            )
            .into());
        };
        tokio::time::sleep(delay).await;
    }
}

/// What one put and the look-up after it have shown.
enum Round {
    Settled(Committed),
    Unclear(String),
}

async fn commit_once(
    store: &dyn Store,
    verifier: &Verifier,
    manifest: &Manifest,
    name: &str,
    bytes: &Bytes,
) -> Result<Round, LookUpError> {
    let mut unclear = match store.put_if_absent(name, bytes.clone()).await? {
        Created::Yes => return Ok(Round::Settled(Committed::Ours)),
        Created::Conflict => {
            let reason = "409: another put of the manifest is in progress";
            return Ok(Round::Unclear(reason.to_owned()));
        }
        Created::Exists => "the manifest exists and cannot be read".to_owned(),
        Created::Unknown(reason) => reason,
    };
    // It exists, or it may: the attempt that it names has won.
    match verifier.look_up(&manifest.key, false).await {
        Ok(StoredResult::Sound(found)) if found.attempt == manifest.attempt => {
            return Ok(Round::Settled(Committed::Ours));
        }
        Ok(StoredResult::Sound(found)) => return Ok(Round::Settled(Committed::Theirs(found))),
        Ok(StoredResult::Broken(reason)) => {
            tracing::warn!(job = %manifest.key, %reason, "the manifest in place does not verify; \
                it is replaced if a second look confirms that");
            match verifier.quarantine(&manifest.key, false).await? {
                Quarantine::Gone | Quarantine::Sound(_) => {}
                Quarantine::Noticed(reason) => {
                    unclear = format!("a manifest that does not verify is in place: {reason}");
                }
            }
        }
        Ok(StoredResult::Nothing) => {}
        Err(LookUpError::Store(error)) if error.kind == StoreErrorKind::Unavailable => {
            unclear = chain(&error);
        }
        Err(error) => return Err(error),
    }
    Ok(Round::Unclear(unclear))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{Body, InjectedFault, RamStore},
        testing::manifest,
    };
    use std::sync::Arc;

    async fn run(store: Arc<RamStore>, manifest: &Manifest) -> Committed {
        let verifier = Verifier::new(store.clone());
        commit(store.as_ref(), &verifier, manifest).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_is_ours_when_the_manifest_names_us() {
        let mut first = true;
        let store = Arc::new(RamStore::with_faults(move |op, _| {
            if op == "create" && std::mem::take(&mut first) {
                InjectedFault::After
            } else {
                InjectedFault::None
            }
        }));
        assert!(matches!(run(store, &manifest(1)).await, Committed::Ours));
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_is_told_who_won() {
        let store = Arc::new(RamStore::default());
        let (first, second) = (manifest(1), manifest(2));
        assert!(matches!(run(store.clone(), &first).await, Committed::Ours));
        let Committed::Theirs(winner) = run(store, &second).await else {
            panic!("the first manifest is kept")
        };
        assert_eq!(winner.attempt, first.attempt);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_manifest_is_replaced() {
        let store = Arc::new(RamStore::default());
        let manifest = manifest(1);
        store
            .put(
                &manifest_key(&manifest.key),
                Body::Bytes(b"{\"schema\": 1".as_slice().into()),
            )
            .await
            .unwrap();
        assert!(matches!(
            run(store.clone(), &manifest).await,
            Committed::Ours
        ));
        assert_eq!(
            store
                .get(&manifest_key(&manifest.key))
                .await
                .unwrap()
                .unwrap(),
            manifest.encode()
        );
    }
}

//! The commit: one create-only put of the manifest, last. Whatever the store answers, afterwards it
//! is known whose result stands.

use crate::{
    store::{Created, Store, StoreError, StoreErrorKind},
    verify::{Found, LookUpError, Verifier},
};
use bytes::Bytes;
use cedm_contract::{Manifest, manifest_key};
use std::time::Duration;

/// Whose result stands.
#[derive(Debug)]
pub enum Committed {
    /// Ours.
    Ours,
    /// Another attempt was first; its manifest.
    Theirs(Box<Manifest>),
}

/// Rounds of put and look before the store is called unavailable.
const ROUNDS: u32 = 8;

/// Commits a manifest whose objects are all uploaded.
pub(crate) async fn commit(
    store: &dyn Store,
    verifier: &Verifier,
    manifest: &Manifest,
) -> Result<Committed, LookUpError> {
    let name = manifest_key(&manifest.key);
    let bytes = Bytes::from(manifest.encode());
    let mut unclear = String::new();
    for round in 0..ROUNDS {
        if round > 0 {
            tokio::time::sleep(Duration::from_millis(50 << round.min(6))).await;
        }
        match store.put_if_absent(&name, bytes.clone()).await? {
            Created::Yes => return Ok(Committed::Ours),
            Created::Conflict => {
                "409: another put of the manifest is under way".clone_into(&mut unclear);
                continue;
            }
            Created::Exists => {}
            Created::Unknown(reason) => unclear = reason,
        }
        // It exists, or it may: look whose attempt it names.
        match verifier.look_up(&manifest.key, false).await {
            Ok(Found::Sound(found)) if found.attempt == manifest.attempt => {
                return Ok(Committed::Ours);
            }
            Ok(Found::Sound(found)) => return Ok(Committed::Theirs(found)),
            Ok(Found::Broken(reason, attempt)) => {
                tracing::warn!(job = %manifest.key, %reason, "the manifest in place does not \
                    verify; it is replaced");
                verifier.discard(&manifest.key, attempt.as_ref()).await?;
            }
            Ok(Found::Nothing) => {}
            Err(LookUpError::Store(error)) if error.kind == StoreErrorKind::Unavailable => {
                unclear = error.to_string()
            }
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::new(
        "create",
        &name,
        StoreErrorKind::Unavailable,
        format!("no clear answer in {ROUNDS} rounds: {unclear}"),
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{Body, Fault, RamStore},
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
                Fault::After
            } else {
                Fault::None
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
            panic!("the first manifest stands")
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

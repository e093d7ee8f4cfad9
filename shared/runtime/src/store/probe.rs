//! Probes. At start: eight writers race to create one key. A store on which two succeed cannot be
//! used: commits rest on create-only puts. After a failure: can the store be written at all?

use super::{Created, Store, StoreError, StoreErrorKind};
use bytes::Bytes;
use cedm_contract::PROBE_PREFIX;
use std::sync::Arc;

const WRITERS: usize = 8;

/// Races eight create-only writers for a fresh key and removes it again.
///
/// # Errors
/// When the store does not answer, or when not exactly one writer won; the reason says so.
pub async fn probe_create_only(store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let key = format!("{PROBE_PREFIX}{}", ulid::Ulid::generate());
    let race = (0..WRITERS).map(|writer| {
        let (store, key) = (store.clone(), key.clone());
        async move {
            store
                .put_if_absent(&key, Bytes::from(format!("writer {writer}")))
                .await
        }
    });
    let mut won = 0;
    let mut unclear = None;
    for outcome in futures::future::join_all(race).await {
        match outcome? {
            Created::Yes => won += 1,
            Created::Exists | Created::Conflict => {}
            Created::Unknown(reason) => unclear = Some(reason),
        }
    }
    let found = store.get(&key).await?;
    store.delete(&key).await?;
    let error = |kind, reason: String| Err(StoreError::new("probe", &key, kind, reason));
    if won > 1 {
        return error(
            StoreErrorKind::Denied,
            format!(
                "{won} of {WRITERS} concurrent create-only writers won: this store cannot be used \
                 (it needs an atomic If-None-Match: *; CEDM_COMMIT_LEASE=true guards commits by a \
                 lease instead)"
            ),
        );
    }
    match (unclear, found) {
        (Some(reason), _) => error(StoreErrorKind::Unavailable, reason),
        (None, None) => error(
            StoreErrorKind::Unavailable,
            "a create-only put was accepted, but its object cannot be read".to_owned(),
        ),
        (None, Some(_)) if won == 0 => error(
            StoreErrorKind::Unavailable,
            format!("none of {WRITERS} create-only writers won a fresh key"),
        ),
        (None, Some(_)) => Ok(()),
    }
}

/// Enough to show a full disk, and little beside what a job writes.
const WRITTEN_BYTES: usize = 256 << 10;

/// Writes an object and removes it again: reading may work long after the disk is full.
///
/// # Errors
/// When the store does not answer, or has no room.
pub(crate) async fn probe_write(store: &dyn Store) -> Result<(), StoreError> {
    let key = format!("{PROBE_PREFIX}write-{}", ulid::Ulid::generate());
    let created = store
        .put_if_absent(&key, Bytes::from(vec![0; WRITTEN_BYTES]))
        .await?;
    if let Created::Unknown(reason) = created {
        return Err(StoreError::new(
            "probe",
            &key,
            StoreErrorKind::Unavailable,
            reason,
        ));
    }
    store.delete(&key).await
}

#[cfg(test)]
mod tests {
    use super::{
        super::{InjectedFault, RamStore},
        *,
    };

    #[tokio::test]
    async fn a_store_with_one_winner_passes() {
        let store: Arc<dyn Store> = Arc::new(RamStore::default());
        probe_create_only(&store).await.unwrap();
        assert!(
            store.list(PROBE_PREFIX).await.unwrap().is_empty(),
            "the probe cleans up"
        );
    }

    #[tokio::test]
    async fn a_store_that_ignores_if_none_match_is_refused_with_that_reason() {
        let store: Arc<dyn Store> = Arc::new(RamStore::default().that_ignores_if_none_match());
        let error = probe_create_only(&store).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Denied);
        assert!(
            error
                .source
                .to_string()
                .starts_with("8 of 8 concurrent create-only writers won"),
            "{}",
            error.source
        );
    }

    #[tokio::test]
    async fn a_lost_answer_counts_as_unavailable() {
        let store: Arc<dyn Store> = Arc::new(RamStore::with_faults(|op, _| {
            if op == "create" {
                InjectedFault::After
            } else {
                InjectedFault::None
            }
        }));
        assert_eq!(
            probe_create_only(&store).await.unwrap_err().kind,
            StoreErrorKind::Unavailable
        );
    }
}

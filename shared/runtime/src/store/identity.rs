//! Which store this is: a random id in the store itself, written once. Jobs carry that of the store
//! in which their inputs are, so that a worker with another bucket notices before it calls every
//! input lost.

use super::{Store, StoreError};
use crate::create_only::{Written, create_only};
use bytes::Bytes;
use cedm_contract::IDENTITY_KEY;
use ulid::Ulid;

/// The id of the store; `None` while nobody has submitted a job to it, and (with a warning) when
/// the object holds something else.
///
/// # Errors
/// When the store fails.
pub(crate) async fn identity(store: &dyn Store) -> Result<Option<Ulid>, StoreError> {
    let stored = store.get(IDENTITY_KEY).await?;
    Ok(stored.and_then(|bytes| parsed(&bytes)))
}

/// The same; writes a new id where there is none.
///
/// # Errors
/// When the store fails, or does not allow it.
pub(crate) async fn ensure_identity(store: &dyn Store) -> Result<Option<Ulid>, StoreError> {
    if let Some(found) = identity(store).await? {
        return Ok(Some(found));
    }
    let new = Ulid::generate();
    match create_only(store, IDENTITY_KEY, Bytes::from(new.to_string())).await? {
        Written::Ours => Ok(Some(new)),
        Written::Exists { bytes, .. } => Ok(parsed(&bytes)),
    }
}

fn parsed(bytes: &[u8]) -> Option<Ulid> {
    let text = std::str::from_utf8(bytes).ok();
    let id = text.and_then(|text| text.parse().ok());
    if id.is_none() {
        tracing::warn!(
            bytes = bytes.len(),
            "object `{IDENTITY_KEY}` holds no ULID: stores cannot be told apart; remove it, and the \
             coordinator writes another"
        );
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Body, RamStore};

    #[tokio::test]
    async fn the_id_is_written_once() {
        let store = RamStore::default();
        assert_eq!(identity(&store).await.unwrap(), None);
        let first = ensure_identity(&store).await.unwrap();
        assert!(first.is_some());
        assert_eq!(ensure_identity(&store).await.unwrap(), first);
        assert_eq!(identity(&store).await.unwrap(), first);
        let other = RamStore::default();
        assert_ne!(ensure_identity(&other).await.unwrap(), first);
    }

    #[tokio::test]
    async fn garbage_in_its_place_stops_nothing() {
        let store = RamStore::default();
        let garbage = Body::Bytes(vec![0xff; 40].into());
        store.put(IDENTITY_KEY, garbage).await.unwrap();
        assert_eq!(ensure_identity(&store).await.unwrap(), None);
    }
}

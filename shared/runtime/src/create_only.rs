//! Create-only writes of small objects: tried again until it is known whose bytes are stored.

use crate::{
    RetryPolicy,
    store::{Created, Store, StoreError, StoreErrorKind},
};
use bytes::Bytes;
use std::time::Duration;

/// Rounds of put and look-up before the store counts as unavailable.
pub(crate) const ROUNDS: RetryPolicy =
    RetryPolicy::doubling(Duration::from_millis(100), Duration::from_millis(3200)).at_most(8);

/// How a create-only write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The object was not there, and now has our bytes.
    Ours,
    /// An object was there before.
    Exists {
        /// The bytes that are stored there.
        bytes: Bytes,
        /// Whether the answer to one of our own puts was lost: the bytes may then be ours.
        answer_lost: bool,
    },
}

/// Writes an object unless it exists. Tries again, after a delay, while another put of it is in
/// progress and while it is neither written nor found.
///
/// # Errors
/// When the store fails, or gives no clear answer in 8 rounds (`Unavailable`).
pub async fn create_only(
    store: &dyn Store,
    key: &str,
    bytes: Bytes,
) -> Result<Written, StoreError> {
    let (mut delays, mut answer_lost) = (ROUNDS.delays(&bytes), false);
    loop {
        let (reason, may_exist) = match store.put_if_absent(key, bytes.clone()).await? {
            Created::Yes => return Ok(Written::Ours),
            Created::Conflict => ("409: another put of it is in progress".to_owned(), false),
            Created::Exists => ("it exists and cannot be read".to_owned(), true),
            Created::Unknown(reason) => {
                answer_lost = true;
                (reason, true)
            }
        };
        if may_exist && let Some(bytes) = store.get(key).await? {
            return Ok(Written::Exists { bytes, answer_lost });
        }
        let Some(delay) = delays.next() else {
            return Err(StoreError::new(
                "create",
                key,
                StoreErrorKind::Unavailable,
                format!("no clear answer after several rounds: {reason}"),
            ));
        };
        tracing::debug!(key, reason, "unclear answer from the store; trying again");
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{InjectedFault, RamStore};

    async fn create(store: &RamStore, text: &'static str) -> Result<Written, StoreError> {
        create_only(store, "key", Bytes::from_static(text.as_bytes())).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_writer_wins_and_the_second_reads_its_bytes() {
        let store = RamStore::default();
        assert_eq!(create(&store, "first").await.unwrap(), Written::Ours);
        let expected = Written::Exists {
            bytes: Bytes::from_static(b"first"),
            answer_lost: false,
        };
        assert_eq!(create(&store, "second").await.unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_is_reported_with_the_stored_bytes() {
        let store = RamStore::with_faults(|op, _| match op {
            "create" => InjectedFault::After,
            _ => InjectedFault::None,
        });
        let expected = Written::Exists {
            bytes: Bytes::from_static(b"ours"),
            answer_lost: true,
        };
        assert_eq!(create(&store, "ours").await.unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_when_no_answer_ever_comes() {
        let store = RamStore::with_faults(|op, _| match op {
            "create" => InjectedFault::Before,
            _ => InjectedFault::None,
        });
        let error = create(&store, "ours").await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unavailable);
    }
}

//! Create-only puts for a store that has none: guarded by a lease in a JetStream bucket. Weaker
//! than the store's own (a holder that sleeps past its lease can still overwrite), so it must be
//! asked for.

use super::{Body, Created, Listed, Store, StoreError, StoreErrorKind};
use crate::{
    RetryPolicy, RuntimeError,
    bucket::{Bucket, LEASES},
    error::chain,
    queue::NatsQueue,
};
use bytes::Bytes;
use cedm_contract::Digest;
use std::{ops::Range, path::Path, sync::Arc, time::Duration};

/// A lease expires after 30 s (`deploy/jetstream.toml`); a waiting writer waits a little longer
/// than that.
const WAIT: RetryPolicy = RetryPolicy::doubling(Duration::from_millis(50), Duration::from_secs(1))
    .within(Duration::from_secs(40));

/// A store whose create-only puts take a lease on their key first.
pub(crate) struct Leased {
    inner: Arc<dyn Store>,
    queue: NatsQueue,
}

impl Leased {
    pub(crate) fn new(inner: Arc<dyn Store>, queue: NatsQueue) -> Self {
        Self { inner, queue }
    }

    /// Waits for the lease on a key; its revision.
    async fn take(&self, bucket: &Bucket, name: &str, key: &str) -> Result<u64, StoreError> {
        let is_held = |error: &RuntimeError| matches!(error, RuntimeError::Conflict { .. });
        WAIT.retry("take the lease of a commit", is_held, || async {
            remove_garbage(bucket, name).await?;
            bucket.create(name, "").await
        })
        .await
        .map_err(|error| unavailable(key, error))
    }
}

/// A lease is an empty entry; anything else in its place is held by nobody.
async fn remove_garbage(bucket: &Bucket, name: &str) -> Result<(), RuntimeError> {
    let Some(entry) = bucket.get(name).await? else {
        return Ok(());
    };
    if entry.value.is_some_and(|value| !value.is_empty()) {
        bucket.undecodable(name, entry.revision, "a lease is empty, and this is not");
        bucket.remove_own(name, entry.revision).await?;
    }
    Ok(())
}

fn unavailable(key: &str, error: RuntimeError) -> StoreError {
    StoreError::new("create", key, StoreErrorKind::Unavailable, error)
}

#[async_trait::async_trait]
impl Store for Leased {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key).await
    }
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.inner.get_range(key, range).await
    }
    async fn download(&self, key: &str, file: &Path) -> Result<Option<(u64, Digest)>, StoreError> {
        self.inner.download(key, file).await
    }
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.inner.size(key).await
    }
    async fn put(&self, key: &str, body: Body<'_>) -> Result<(), StoreError> {
        self.inner.put(key, body).await
    }
    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let bucket = Bucket::open_in(&self.queue, LEASES)
            .await
            .map_err(|error| unavailable(key, error))?;
        // One token: permissions name `$KV.<bucket>.*`.
        let name = Digest::of(key.as_bytes()).to_string();
        let revision = self.take(&bucket, &name, key).await?;
        let outcome = match self.inner.size(key).await {
            Ok(Some(_)) => Ok(Created::Exists),
            Ok(None) => match self.inner.put(key, Body::Bytes(bytes)).await {
                Ok(()) => Ok(Created::Yes),
                Err(error) => Ok(Created::Unknown(chain(&error))),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = bucket.remove_own(&name, revision).await {
            tracing::warn!(error = %chain(&error), key, "lease not released: it will expire");
        }
        outcome
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.inner.list(prefix).await
    }
}

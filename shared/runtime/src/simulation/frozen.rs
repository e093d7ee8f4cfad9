//! A process that is stopped for a while, whatever it is doing, and a store that takes its time:
//! together they put a pause between any two steps of the protocol.

use crate::store::{Body, Created, Listed, RamStore, Store, StoreError};
use bytes::Bytes;
use cedm_contract::Digest;
use std::{
    future::Future,
    ops::Range,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// A future that is not polled between two moments, like a process between SIGSTOP and SIGCONT.
pub(super) struct Frozen<F> {
    inner: Pin<Box<F>>,
    from: Instant,
    thaw: Pin<Box<Sleep>>,
}

impl<F: Future> Frozen<F> {
    pub(super) fn new(inner: F, after: Duration, how_long: Duration) -> Self {
        let from = Instant::now() + after;
        Self {
            inner: Box::pin(inner),
            from,
            thaw: Box::pin(tokio::time::sleep_until(from + how_long)),
        }
    }
}

impl<F: Future> Future for Frozen<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if Instant::now() >= self.from && self.thaw.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.inner.as_mut().poll(context)
    }
}

/// The store in memory behind a wire whose delay is rolled for every request.
pub(super) struct SlowStore<D> {
    pub(super) store: Arc<RamStore>,
    pub(super) delay: D,
}

impl<D: Fn() -> Duration + Send + Sync> SlowStore<D> {
    async fn wait(&self) {
        let delay = (self.delay)();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
}

#[async_trait::async_trait]
impl<D: Fn() -> Duration + Send + Sync + 'static> Store for SlowStore<D> {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.wait().await;
        self.store.get(key).await
    }
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.wait().await;
        self.store.get_range(key, range).await
    }
    async fn download(&self, key: &str, file: &Path) -> Result<Option<(u64, Digest)>, StoreError> {
        self.wait().await;
        self.store.download(key, file).await
    }
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.wait().await;
        self.store.size(key).await
    }
    async fn put(&self, key: &str, body: Body<'_>) -> Result<(), StoreError> {
        self.wait().await;
        let put = self.store.put(key, body).await;
        self.wait().await;
        put
    }
    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        self.wait().await;
        let created = self.store.put_if_absent(key, bytes).await;
        self.wait().await;
        created
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.wait().await;
        self.store.delete(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.wait().await;
        self.store.list(prefix).await
    }
}

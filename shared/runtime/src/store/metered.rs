//! The store with a stopwatch: every request shows in `cedm_s3_request_duration_seconds`.

use super::{Body, Created, Listed, Store, StoreError};
use crate::{Metrics, metrics::process::STORE_REQUESTS};
use bytes::Bytes;
use cedm_contract::Digest;
use std::{future::Future, ops::Range, path::Path, sync::Arc, time::Instant};

/// A store whose requests are measured.
pub(crate) struct Metered {
    inner: Arc<dyn Store>,
    metrics: Metrics,
}

impl Metered {
    pub(crate) fn new(inner: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    async fn time<T>(
        &self,
        op: &str,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let answer = request.await;
        let outcome = if answer.is_ok() { "ok" } else { "error" };
        let seconds = start.elapsed().as_secs_f64();
        self.metrics
            .observe_at(&STORE_REQUESTS, [op, outcome], seconds);
        answer
    }
}

#[async_trait::async_trait]
impl Store for Metered {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.time("get", self.inner.get(key)).await
    }
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.time("get", self.inner.get_range(key, range)).await
    }
    async fn download(&self, key: &str, file: &Path) -> Result<Option<(u64, Digest)>, StoreError> {
        self.time("get", self.inner.download(key, file)).await
    }
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.time("head", self.inner.size(key)).await
    }
    async fn put(&self, key: &str, body: Body<'_>) -> Result<(), StoreError> {
        self.time("put", self.inner.put(key, body)).await
    }
    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        self.time("create", self.inner.put_if_absent(key, bytes))
            .await
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.time("delete", self.inner.delete(key)).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.time("list", self.inner.list(prefix)).await
    }
}

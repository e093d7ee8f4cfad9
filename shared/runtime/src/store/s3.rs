//! The store over S3: explicit time-outs, checksums only where the store requires them, path style
//! for custom endpoints.

use super::{Body, Created, Listed, Store, StoreError, StoreErrorKind, multipart};
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::{DisplayErrorContext, SdkError},
    primitives::ByteStream,
};
use aws_smithy_runtime_api::http::Response;
use bytes::Bytes;
use cedm_contract::Digest;
use std::{error::Error, ops::Range, path::Path, time::Duration};
use tokio::io::AsyncWriteExt;

/// Where the bucket is.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// Custom endpoint; AWS when absent.
    pub endpoint: Option<String>,
    /// Name of the bucket.
    pub bucket: String,
    /// Region; the default chain's when absent, `us-east-1` for a custom endpoint.
    pub region: Option<String>,
}

/// One bucket of an S3 store.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
}

impl S3Store {
    /// A client with the keys of the default chain (environment, profile, instance); nothing is
    /// sent yet.
    pub async fn open(settings: &S3Settings) -> Self {
        Self::open_with(settings, None).await
    }

    /// The same with this access key id and secret, if given.
    pub async fn open_with(settings: &S3Settings, keys: Option<(String, String)>) -> Self {
        use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut chain = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        match (&settings.region, &settings.endpoint) {
            (Some(region), _) => chain = chain.region(Region::new(region.clone())),
            (None, Some(_)) if std::env::var_os("AWS_REGION").is_none() => {
                chain = chain.region(Region::from_static("us-east-1"))
            }
            (None, _) => {}
        }
        if let Some((access, secret)) = keys {
            chain = chain
                .credentials_provider(Credentials::new(access, secret, None, None, "settings"));
        }
        let chain = chain.load().await;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .read_timeout(Duration::from_secs(30))
            .operation_attempt_timeout(Duration::from_secs(90))
            .operation_timeout(Duration::from_secs(240))
            .build();
        let mut config = aws_sdk_s3::config::Builder::from(&chain)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(4))
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled()
                    .upload_enabled(false)
                    .build(),
            );
        if let Some(endpoint) = &settings.endpoint {
            config = config
                .endpoint_url(endpoint)
                .force_path_style(true)
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        Self {
            client: Client::from_conf(config.build()),
            bucket: settings.bucket.clone(),
        }
    }

    async fn body(
        &self,
        key: &str,
        range: Option<String>,
    ) -> Result<Option<ByteStream>, StoreError> {
        match self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .set_range(range)
            .send()
            .await
        {
            Ok(reply) => Ok(Some(reply.body)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(describe("get", key, error)),
        }
    }

    async fn collect(&self, key: &str, range: Option<String>) -> Result<Option<Bytes>, StoreError> {
        let Some(body) = self.body(key, range).await? else {
            return Ok(None);
        };
        let bytes = body
            .collect()
            .await
            .map_err(|error| interrupted(key, error))?;
        Ok(Some(bytes.into_bytes()))
    }
}

#[async_trait::async_trait]
impl Store for S3Store {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.collect(key, None).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        if range.is_empty() {
            return Ok(self.size(key).await?.map(|_| Bytes::new()));
        }
        self.collect(
            key,
            Some(format!("bytes={}-{}", range.start, range.end - 1)),
        )
        .await
    }

    async fn download(&self, key: &str, file: &Path) -> Result<Option<(u64, Digest)>, StoreError> {
        let Some(mut body) = self.body(key, None).await? else {
            return Ok(None);
        };
        let local = |error: std::io::Error| StoreError::local("get", key, error);
        let mut to = tokio::fs::File::create_new(file).await.map_err(local)?;
        let (mut size, mut hasher) = (0, blake3::Hasher::new());
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| interrupted(key, error))?;
            size += chunk.len() as u64;
            hasher.update(&chunk);
            to.write_all(&chunk).await.map_err(local)?;
        }
        to.flush().await.map_err(local)?;
        Ok(Some((size, Digest::finish(&hasher))))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        match self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
        {
            Ok(reply) => Ok(Some(
                reply
                    .content_length()
                    .and_then(|size| u64::try_from(size).ok())
                    .unwrap_or(0),
            )),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(describe("head", key, error)),
        }
    }

    async fn put(&self, key: &str, body: Body<'_>) -> Result<(), StoreError> {
        let body = match body {
            Body::Bytes(bytes) => ByteStream::from(bytes),
            Body::File(path) => {
                let about = tokio::fs::metadata(path)
                    .await
                    .map_err(|error| StoreError::local("put", key, error))?;
                if about.len() > multipart::PART_BYTES {
                    return multipart::put_file(&self.client, &self.bucket, key, path, about.len())
                        .await;
                }
                ByteStream::from_path(path)
                    .await
                    .map_err(|error| StoreError::new("put", key, StoreErrorKind::Local, error))?
            }
        };
        let sent = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(body)
            .send()
            .await;
        sent.map(|_| ())
            .map_err(|error| describe("put", key, error))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let sent = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .if_none_match("*")
            .body(ByteStream::from(bytes))
            .send()
            .await;
        let Err(error) = sent else {
            return Ok(Created::Yes);
        };
        match status(&error) {
            Some(412) => Ok(Created::Exists),
            Some(409) => Ok(Created::Conflict),
            // The store refused it before any effect.
            Some(400..=499) => Err(describe("create", key, error)),
            _ if matches!(error, SdkError::ConstructionFailure(_)) => {
                Err(describe("create", key, error))
            }
            _ => Ok(Created::Unknown(DisplayErrorContext(&error).to_string())),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let sent = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await;
        sent.map(|_| ())
            .map_err(|error| describe("delete", key, error))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .into_paginator()
            .send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page
                .map_err(|error| describe("list", prefix, error))?
                .contents()
            {
                let modified_ms = object
                    .last_modified()
                    .and_then(|time| u64::try_from(time.to_millis().ok()?).ok())
                    .unwrap_or(0);
                let size = object
                    .size()
                    .and_then(|size| u64::try_from(size).ok())
                    .unwrap_or(0);
                listed.push(Listed {
                    key: object.key().unwrap_or_default().to_owned(),
                    size,
                    modified_ms,
                });
            }
        }
        Ok(listed)
    }
}

fn status<E>(error: &SdkError<E, Response>) -> Option<u16> {
    error
        .raw_response()
        .map(|response| response.status().as_u16())
}

/// The connection broke while the object was being received.
fn interrupted(key: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::new("get", key, StoreErrorKind::Unavailable, error)
}

/// The SDK's error, by what the HTTP status says about another try.
pub(super) fn describe<E: std::error::Error + Send + Sync + 'static>(
    op: &'static str,
    key: &str,
    error: SdkError<E, Response>,
) -> StoreError {
    let kind = match status(&error) {
        Some(401 | 403) => StoreErrorKind::Denied,
        Some(404) => StoreErrorKind::Missing,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(op, key, kind, error)
}

//! The store over S3: explicit time-outs, checksums only where the store requires them, path style
//! for custom endpoints.

use super::{
    Body, Created, Listed, S3Settings, Store, StoreError, StoreErrorKind,
    answer::{describe, is_missing, status},
    multipart,
    reader::ObjectReader,
    tls,
};
use crate::error::chain;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::SdkError,
    primitives::ByteStream,
};
use bytes::{Bytes, BytesMut};
use cedm_contract::{Digest, PROBE_PREFIX};
use std::{ops::Range, path::Path, time::Duration};
use tokio::io::AsyncWriteExt;

/// Larger objects are read as files or in parts only: what is read into memory are manifests and
/// records, and anybody with the right to write one could write a larger one.
const MOST_IN_MEMORY: u64 = 512 << 20;

/// How long the first request may take. Whatever is wrong with the settings shows within it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(4);

/// One bucket of an S3 store.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    settings: S3Settings,
}

impl S3Store {
    /// A client with the keys of the default chain (environment, profile, instance); nothing is
    /// sent yet.
    ///
    /// # Errors
    /// When the settings cannot name a store, or certificates are needed and cannot be read.
    pub async fn open(settings: &S3Settings) -> Result<Self, StoreError> {
        Self::open_with(settings, None).await
    }

    /// The same with this access key id and secret, if given.
    ///
    /// # Errors
    /// As [`S3Store::open`].
    pub async fn open_with(
        settings: &S3Settings,
        keys: Option<(String, String)>,
    ) -> Result<Self, StoreError> {
        settings.check()?;
        let has_keys = keys.is_some() || std::env::var_os("AWS_ACCESS_KEY_ID").is_some();
        let http = tls::http_client(settings, has_keys)?;
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
        Ok(Self {
            client: Client::from_conf(config.build()),
            bucket: settings.bucket.clone(),
            settings: settings.clone(),
        })
    }

    /// Asks once, for an object that does not exist, so that wrong settings show at the start and
    /// not after all the tries that an outage deserves.
    ///
    /// # Errors
    /// Within five seconds: `Misconfigured` when address, region, bucket, keys or certificates are
    /// wrong, or the keys lack the right to see that an object is missing; another kind when the
    /// store does not answer, which may pass.
    pub async fn check(&self) -> Result<(), StoreError> {
        let key = format!("{PROBE_PREFIX}{}", ulid::Ulid::generate());
        let once = aws_sdk_s3::Config::builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(CHECK_TIMEOUT)
                    .build(),
            );
        let asked = self.client.get_object().bucket(&self.bucket).key(&key);
        let error = match asked.customize().config_override(once).send().await {
            Ok(_) => return Ok(()),
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => describe("get", &key, error),
        };
        let kind = match error.kind {
            // Nobody can have denied the object itself.
            StoreErrorKind::Denied => StoreErrorKind::Misconfigured,
            kind => kind,
        };
        let place = self.settings.to_string();
        let source = anyhow::Error::new(error.source).context(place);
        Err(StoreError::new("get", &key, kind, source))
    }

    /// The bytes of an object, or of a part of it, in memory.
    async fn collect(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<Option<Bytes>, StoreError> {
        let reader = ObjectReader::open(&self.client, &self.bucket, key, range).await?;
        let Some(mut reader) = reader else {
            return Ok(None);
        };
        let size = reader.left();
        if size > MOST_IN_MEMORY {
            return Err(StoreError::new(
                "get",
                key,
                StoreErrorKind::Damaged,
                format!("it has {size} bytes, at most {MOST_IN_MEMORY} are read into memory"),
            ));
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes.freeze()))
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
        self.collect(key, Some(range)).await
    }

    async fn download(&self, key: &str, file: &Path) -> Result<Option<(u64, Digest)>, StoreError> {
        let reader = ObjectReader::open(&self.client, &self.bucket, key, None).await?;
        let Some(mut reader) = reader else {
            return Ok(None);
        };
        let local = |error: std::io::Error| StoreError::local("get", key, error);
        let mut to = tokio::fs::File::create_new(file).await.map_err(local)?;
        let (mut size, mut hasher) = (0, blake3::Hasher::new());
        while let Some(chunk) = reader.next().await? {
            size += chunk.len() as u64;
            hasher.update(&chunk);
            to.write_all(&chunk).await.map_err(local)?;
        }
        to.flush().await.map_err(local)?;
        Ok(Some((size, Digest::finish(&hasher))))
    }

    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        // Between a HEAD that misses the object and the GET that finds it, somebody may have put
        // it.
        const LOOKS: usize = 3;
        for _ in 0..LOOKS {
            let head = self.client.head_object().bucket(&self.bucket).key(key);
            let error = match head.send().await {
                Ok(reply) => {
                    let size = reply.content_length().unwrap_or(0);
                    return Ok(Some(u64::try_from(size).unwrap_or(0)));
                }
                Err(error) => error,
            };
            // An answer to HEAD has no body that would say who refuses, and why: GET has.
            if !matches!(status(&error), Some(300..=499)) {
                return Err(describe("head", key, error));
            }
            if self.collect(key, Some(0..1)).await?.is_none() {
                return Ok(None);
            }
        }
        Err(StoreError::new(
            "head",
            key,
            StoreErrorKind::Unavailable,
            "HEAD is refused, and GET finds it",
        ))
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
            Some(400..=499 | 501 | 507) => Err(describe("create", key, error)),
            _ if matches!(error, SdkError::ConstructionFailure(_)) => {
                Err(describe("create", key, error))
            }
            _ => Ok(Created::Unknown(chain(&error))),
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

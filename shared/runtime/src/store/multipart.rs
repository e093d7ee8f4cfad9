//! Uploads above 16 MiB: in parts, a few at a time, aborted when any of them fails.

use super::{StoreError, StoreErrorKind, answer};
use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::{ByteStream, Length},
    types::{CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_runtime_api::http::Response;
use futures::{StreamExt, TryStreamExt};
use std::path::Path;

/// Larger bodies go up in parts, each of this size or more.
pub(super) const PART_BYTES: u64 = 16 << 20;
/// S3 allows 10,000 parts.
const MAX_PARTS: u64 = 9_000;
const PARTS_IN_FLIGHT: usize = 4;

/// Puts a file of `size` bytes in parts.
pub(super) async fn put_file(
    client: &Client,
    bucket: &str,
    key: &str,
    file: &Path,
    size: u64,
) -> Result<(), StoreError> {
    let begun = client
        .create_multipart_upload()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .map_err(|error| describe("put", key, error))?;
    let id = begun.upload_id().ok_or_else(|| {
        StoreError::new(
            "put",
            key,
            StoreErrorKind::Unavailable,
            "the store gave no upload id",
        )
    })?;
    let outcome = parts(client, bucket, key, file, size, id).await;
    if outcome.is_err() {
        // The answer to the completion may have been lost, and its repetition refused. The key is
        // this attempt's own: an object of this size is ours, and it appeared whole.
        let there = client.head_object().bucket(bucket).key(key).send().await;
        if there.is_ok_and(|about| {
            about
                .content_length()
                .and_then(|found| u64::try_from(found).ok())
                == Some(size)
        }) {
            return Ok(());
        }
        // The error that led here matters more; what stays is for the bucket's lifecycle rule.
        if let Err(error) = client
            .abort_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(id)
            .send()
            .await
        {
            tracing::warn!(key, error = %describe("abort", key, error), "multipart upload not \
                aborted");
        }
    }
    outcome
}

async fn parts(
    client: &Client,
    bucket: &str,
    key: &str,
    file: &Path,
    size: u64,
    id: &str,
) -> Result<(), StoreError> {
    let part_bytes = PART_BYTES.max(size.div_ceil(MAX_PARTS));
    let uploads = (0..size.div_ceil(part_bytes)).map(|index| async move {
        let offset = index * part_bytes;
        let length = part_bytes.min(size - offset);
        let body = ByteStream::read_from()
            .path(file)
            .offset(offset)
            .length(Length::Exact(length))
            .build()
            .await;
        let body =
            body.map_err(|error| StoreError::new("put", key, StoreErrorKind::Local, error))?;
        let number = i32::try_from(index + 1).expect("invariant: at most 9,000 parts");
        let part = client
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(id)
            .part_number(number)
            .body(body)
            .send()
            .await;
        let part = part.map_err(|error| describe("put", key, error))?;
        Ok::<_, StoreError>(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(part.e_tag)
                .build(),
        )
    });
    let done: Vec<CompletedPart> = futures::stream::iter(uploads)
        .buffered(PARTS_IN_FLIGHT)
        .try_collect()
        .await?;
    let done = CompletedMultipartUpload::builder()
        .set_parts(Some(done))
        .build();
    let sent = client
        .complete_multipart_upload()
        .bucket(bucket)
        .key(key)
        .upload_id(id)
        .multipart_upload(done)
        .send()
        .await;
    sent.map(|_| ())
        .map_err(|error| describe("put", key, error))
}

/// An upload that the store does not know any more was lost with a restart of the store: another
/// one may succeed.
fn describe<E>(op: &'static str, key: &str, error: SdkError<E, Response>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let is_gone = error.code() == Some("NoSuchUpload");
    let error = answer::describe(op, key, error);
    if is_gone {
        return StoreError {
            kind: StoreErrorKind::Unavailable,
            ..error
        };
    }
    error
}

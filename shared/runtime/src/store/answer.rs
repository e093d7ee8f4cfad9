//! What an unsuccessful answer of an S3 store says: whether the object is missing, the disk full,
//! the request denied or not understood, or nothing at all.

use super::{StoreError, StoreErrorKind};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::http::Response;
use std::error::Error;

/// Error codes with which stores say that their disk, or the quota of the bucket, is full.
const FULL_CODES: [&str; 5] = [
    "InsufficientStorage",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "QuotaExceeded",
    "StorageFull",
];

pub(super) fn status<E>(error: &SdkError<E, Response>) -> Option<u16> {
    error
        .raw_response()
        .map(|response| response.status().as_u16())
}

/// Whether the store itself says that there is no such object. A 404 of a proxy that cannot reach
/// the store, or of a bucket that does not exist, says nothing about the object.
pub(super) fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E, Response>) -> bool {
    status(error) == Some(404) && error.code() == Some("NoSuchKey")
}

/// Whether the store has no room for the object.
pub(super) fn is_full<E: ProvideErrorMetadata>(error: &SdkError<E, Response>) -> bool {
    status(error) == Some(507) || error.code().is_some_and(|code| FULL_CODES.contains(&code))
}

/// The connection broke while the object was being received.
pub(super) fn interrupted(key: &str, error: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::new("get", key, StoreErrorKind::Unavailable, error)
}

/// The SDK's error, by what the answer says about another try.
pub(super) fn describe<E>(op: &'static str, key: &str, error: SdkError<E, Response>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let kind = match status(&error) {
        _ if is_full(&error) => StoreErrorKind::Full,
        Some(401 | 403) => StoreErrorKind::Denied,
        // A request that the store does not know at all: no other try will help.
        Some(501) => StoreErrorKind::Denied,
        Some(404) if is_missing(&error) => StoreErrorKind::Missing,
        _ => StoreErrorKind::Unavailable,
    };
    match (kind, status(&error)) {
        (StoreErrorKind::Full, _) => {
            let source = anyhow::Error::from(error).context("the store's disk is full");
            StoreError::new(op, key, kind, source)
        }
        (_, Some(501)) if op == "create" => {
            let source = anyhow::Error::from(error).context(
                "the store has no create-only puts (501): set CEDM_COMMIT_LEASE=true \
                 (--commit-lease) in all processes, which guards commits by a lease instead",
            );
            StoreError::new(op, key, kind, source)
        }
        _ => StoreError::new(op, key, kind, error),
    }
}

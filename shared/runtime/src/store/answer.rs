//! What an unsuccessful answer of an S3 store says: whether the object is missing, the disk full,
//! the request denied or not understood, or nothing at all.

use super::{StoreError, StoreErrorKind, advice::advice};
use crate::error::chain;
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

/// The SDK's error, by what the answer says about another try, with what to do about it.
pub(super) fn describe<E>(op: &'static str, key: &str, error: SdkError<E, Response>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let (kind, advice) = classify(op, &error);
    match advice {
        Some(advice) => StoreError::new(op, key, kind, anyhow::Error::from(error).context(advice)),
        None => StoreError::new(op, key, kind, error),
    }
}

fn classify<E>(op: &str, error: &SdkError<E, Response>) -> (StoreErrorKind, Option<String>)
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if is_full(error) {
        let advice = "the store's disk is full".to_owned();
        return (StoreErrorKind::Full, Some(advice));
    }
    if is_missing(error) {
        return (StoreErrorKind::Missing, None);
    }
    if let Some((kind, advice)) = advice(op, error, &chain(error)) {
        return (kind, Some(advice));
    }
    match status(error) {
        Some(401 | 403) => (StoreErrorKind::Denied, None),
        // A request that the store does not know at all: no other try will help.
        Some(501) => {
            let advice = "the store has no create-only puts (501): set CEDM_COMMIT_LEASE=true \
                 (--commit-lease) in all processes, which guards commits by a lease instead";
            let advice = (op == "create").then(|| advice.to_owned());
            (StoreErrorKind::Denied, advice)
        }
        _ => (StoreErrorKind::Unavailable, None),
    }
}

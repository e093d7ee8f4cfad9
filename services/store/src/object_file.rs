//! Object files: writing a request's body, opening for a response, entity tags.

use crate::failure::{failed, missing_or_failed};
use futures::StreamExt;
use s3s::{
    S3ErrorCode, S3Result,
    dto::{ETag, StreamingBlob},
    s3_error,
};
use std::{fs, io, os::unix::fs::MetadataExt, path::Path};
use tokio::io::AsyncWriteExt;

/// Runs file-system work on the blocking pool.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> S3Result<T> + Send + 'static,
) -> S3Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| s3_error!(error, InternalError))?
}

/// An opaque tag that differs between versions of an object.
pub(crate) fn e_tag(about: &fs::Metadata) -> ETag {
    ETag::Strong(format!(
        "{:x}-{:x}-{:x}",
        about.ino(),
        about.mtime_nsec(),
        about.len()
    ))
}

/// Opens an object's file; a folder is not an object.
pub(crate) async fn open(path: &Path) -> S3Result<(tokio::fs::File, fs::Metadata)> {
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|error| missing_or_failed(error, S3ErrorCode::NoSuchKey))?;
    let about = file.metadata().await.map_err(failed)?;
    if about.is_file() {
        Ok((file, about))
    } else {
        Err(s3_error!(NoSuchKey))
    }
}

/// Writes a request's body to `path` and syncs it; removes the file when anything fails.
pub(crate) async fn receive(
    path: &Path,
    body: Option<StreamingBlob>,
    expected: Option<i64>,
) -> S3Result<ETag> {
    let outcome = async {
        let mut file = tokio::fs::File::create_new(path).await.map_err(failed)?;
        let mut written = 0_u64;
        if let Some(mut body) = body {
            while let Some(chunk) = body.next().await {
                let chunk =
                    chunk.map_err(|error| s3_error!(io::Error::other(error), IncompleteBody))?;
                written += chunk.len() as u64;
                file.write_all(&chunk).await.map_err(failed)?;
            }
        }
        if expected.is_some_and(|expected| u64::try_from(expected) != Ok(written)) {
            return Err(s3_error!(IncompleteBody));
        }
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        Ok(e_tag(&file.metadata().await.map_err(failed)?))
    }
    .await;
    if outcome.is_err() {
        // Best effort: leftovers are removed at the next start.
        let _ = tokio::fs::remove_file(path).await;
    }
    outcome
}

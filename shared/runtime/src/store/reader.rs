//! Reads an object although connections break: what is missing is asked for again, from the same
//! version of the object.

use super::{
    StoreError, StoreErrorKind,
    answer::{describe, interrupted, is_missing, status},
};
use crate::{RetryPolicy, error::chain};
use aws_sdk_s3::{Client, primitives::ByteStream};
use bytes::Bytes;
use std::{ops::Range, time::Duration};

/// Between a broken connection and the next request for the rest.
const RESUME: RetryPolicy =
    RetryPolicy::doubling(Duration::from_millis(100), Duration::from_secs(5));
/// Reading is given up after so many connections in a row that brought next to nothing.
const TRIES: u32 = 8;
/// A connection that brings this much counts as progress, and the tries begin anew: reading ends,
/// since objects do.
const PROGRESS_BYTES: u64 = 64 << 10;

/// An object, or a part of it, that is being received.
pub(super) struct ObjectReader<'a> {
    client: &'a Client,
    bucket: &'a str,
    key: &'a str,
    body: ByteStream,
    /// The version that is read; stores without one are trusted not to replace objects.
    e_tag: Option<String>,
    /// First byte that is still missing, and the end of what is read.
    at: u64,
    end: u64,
    /// Bytes that the present connection has brought.
    brought: u64,
    /// Connections in a row that brought next to nothing.
    failures: u32,
}

impl<'a> ObjectReader<'a> {
    /// Begins to read the object, or a part of it; `None` when there is none.
    pub(super) async fn open(
        client: &'a Client,
        bucket: &'a str,
        key: &'a str,
        range: Option<Range<u64>>,
    ) -> Result<Option<Self>, StoreError> {
        let wanted = range.as_ref().map(header);
        let sent = client
            .get_object()
            .bucket(bucket)
            .key(key)
            .set_range(wanted)
            .send()
            .await;
        let reply = match sent {
            Ok(reply) => reply,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(describe("get", key, error)),
        };
        let length = reply
            .content_length()
            .and_then(|length| u64::try_from(length).ok());
        let at = range.map_or(0, |range| range.start);
        let Some(length) = length else {
            return Err(interrupted(
                key,
                "the store does not say how long the object is",
            ));
        };
        Ok(Some(Self {
            client,
            bucket,
            key,
            e_tag: reply.e_tag().map(str::to_owned),
            body: reply.body,
            at,
            end: at.saturating_add(length),
            brought: 0,
            failures: 0,
        }))
    }

    /// How many bytes are still to come.
    pub(super) fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while self.at < self.end {
            let error = match self.body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => {
                    let length = chunk.len() as u64;
                    if length > self.left() {
                        return Err(interrupted(self.key, "more bytes than were promised"));
                    }
                    self.at += length;
                    self.brought += length;
                    return Ok(Some(chunk));
                }
                Some(Err(error)) => chain(&error),
                None => "the connection ended".to_owned(),
            };
            if std::mem::take(&mut self.brought) >= PROGRESS_BYTES {
                self.failures = 0;
            }
            self.resume(error).await?;
        }
        Ok(None)
    }

    /// Asks for the rest, until the store gives it or no try is left.
    async fn resume(&mut self, mut reason: String) -> Result<(), StoreError> {
        loop {
            self.failures += 1;
            if self.failures >= TRIES {
                let (at, end) = (self.at, self.end);
                let text = format!("interrupted at byte {at} of {end} again and again: {reason}");
                return Err(interrupted(self.key, text));
            }
            tracing::debug!(
                key = self.key,
                at = self.at,
                reason,
                "reading was interrupted, the \
                rest is asked for"
            );
            let pause = RESUME.delay_with_jitter(self.failures.into(), self.key.as_bytes());
            tokio::time::sleep(pause).await;
            let sent = self
                .client
                .get_object()
                .bucket(self.bucket)
                .key(self.key)
                .range(header(&(self.at..self.end)))
                .set_if_match(self.e_tag.clone())
                .send()
                .await;
            match sent {
                Ok(reply) => {
                    let left = i64::try_from(self.left()).ok();
                    if reply.content_length() != left {
                        return Err(interrupted(self.key, "a range of another length was sent"));
                    }
                    self.body = reply.body;
                    return Ok(());
                }
                Err(error) if status(&error) == Some(412) => {
                    return Err(interrupted(
                        self.key,
                        "it was replaced while it was being read",
                    ));
                }
                Err(error) => {
                    let error = describe("get", self.key, error);
                    if error.kind != StoreErrorKind::Unavailable {
                        return Err(error);
                    }
                    reason = chain(&error);
                }
            }
        }
    }
}

fn header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end - 1)
}

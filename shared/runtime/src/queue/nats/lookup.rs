//! Looking into streams: single messages, subjects, and what is outstanding for a job.

use super::{NatsQueue, fail};
use crate::{
    Envelope,
    queue::{QueueError, Stored},
    streams::consumer_name,
};
use async_nats::header::{HeaderName, NATS_SCHEDULE, NATS_SCHEDULE_TARGET};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageErrorKind, Stream};
use cedm_contract::{
    DEAD_STREAM, DELAYS_STREAM, JOBS_STREAM, JobKey, Kind, Priority, dead_subject, job_subject,
};

/// How far a stream reaches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Sequence of its first message, or of the next one where it holds none.
    pub(crate) first: u64,
    /// Sequence of the newest message that it ever held.
    pub(crate) last: u64,
    /// Messages in it.
    pub(crate) messages: u64,
}

impl NatsQueue {
    async fn stream(&self, name: &str) -> Result<Stream<()>, QueueError> {
        self.js
            .get_stream_no_info(self.names.stream(name))
            .await
            .map_err(fail("get stream"))
    }

    /// The last message of a stream on a subject (wildcards allowed).
    pub(crate) async fn last(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Stored>, QueueError> {
        match self
            .stream(stream)
            .await?
            .get_last_raw_message_by_subject(&self.names.to_wire(subject))
            .await
        {
            Ok(message) => Ok(Some(self.stored(message))),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(QueueError::new("look up a message", error)),
        }
    }

    /// The message with this sequence.
    pub(crate) async fn at(
        &self,
        stream: &str,
        sequence: u64,
    ) -> Result<Option<Stored>, QueueError> {
        match self.stream(stream).await?.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(self.stored(message))),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(QueueError::new("look up a message", error)),
        }
    }

    /// The first message of a stream on a subject (wildcards allowed) from this sequence on.
    pub(crate) async fn next(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Option<Stored>, QueueError> {
        match self
            .stream(stream)
            .await?
            .get_first_raw_message_by_subject(self.names.to_wire(subject), from)
            .await
        {
            Ok(message) => Ok(Some(self.stored(message))),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(QueueError::new("look up a message", error)),
        }
    }

    /// How far a stream reaches.
    pub(crate) async fn extent(&self, stream: &str) -> Result<Extent, QueueError> {
        let info = self.stream(stream).await?.get_info().await;
        let state = info.map_err(fail("look at a stream"))?.state;
        Ok(Extent {
            first: state.first_sequence,
            last: state.last_sequence,
            messages: state.messages,
        })
    }

    /// Sequences within a stream whose messages were removed.
    pub(crate) async fn deleted(&self, stream: &str) -> Result<Vec<u64>, QueueError> {
        let stream = self.stream(stream).await?;
        let builder = stream.info_builder().with_deleted(true);
        let info = builder.fetch().await.map_err(fail("look at a stream"))?;
        Ok(info.info.state.deleted.unwrap_or_default())
    }

    /// Removes a message by sequence; `false` when it did not exist.
    pub(crate) async fn remove(&self, stream: &str, sequence: u64) -> Result<bool, QueueError> {
        match self.stream(stream).await?.delete_message(sequence).await {
            Ok(removed) => Ok(removed),
            // An error for a message that does not exist any more is not a failure.
            Err(error) => match self.at(stream, sequence).await? {
                None => Ok(false),
                Some(_) => Err(QueueError::new("remove a message", error)),
            },
        }
    }

    /// Subjects of a stream that match and hold messages.
    pub(crate) async fn subjects(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Vec<String>, QueueError> {
        use futures::TryStreamExt;
        let listed = self
            .stream(stream)
            .await?
            .info_with_subjects(self.names.to_wire(filter))
            .await
            .map_err(fail("list subjects"))?;
        let subjects: Vec<(String, usize)> =
            listed.try_collect().await.map_err(fail("list subjects"))?;
        let subjects = subjects.iter();
        Ok(subjects
            .map(|(subject, _)| self.names.from_wire(subject))
            .collect())
    }

    /// The outstanding message of a key: queued, being performed, or delayed.
    pub(crate) async fn outstanding(
        &self,
        kind: Kind,
        key: &JobKey,
    ) -> Result<Option<Stored>, QueueError> {
        // In this order a job on its way from one to the other is at worst found in neither, and
        // then its subject refuses a second.
        for (stream, areas) in [(JOBS_STREAM, "job"), (DELAYS_STREAM, "*")] {
            if let Some(found) = self
                .last(stream, &format!("cedm.{areas}.{kind}.*.{key}"))
                .await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whether a worker has received this message of a lane, once at least.
    pub(crate) async fn was_delivered(
        &self,
        (kind, priority): (Kind, Priority),
        sequence: u64,
    ) -> Result<bool, QueueError> {
        let stream = self.stream(JOBS_STREAM).await?;
        let info = stream.consumer_info(consumer_name(kind, priority)).await;
        let info = info.map_err(fail("look at a consumer"))?;
        Ok(sequence <= info.delivered.stream_sequence)
    }

    /// Whether the same job was queued before this one, under another priority.
    pub(crate) async fn has_earlier_copy(
        &self,
        kind: Kind,
        priority: Priority,
        key: &JobKey,
        sequence: u64,
    ) -> Result<bool, QueueError> {
        for other in Priority::ALL.into_iter().filter(|other| *other != priority) {
            if let Some(found) = self
                .last(JOBS_STREAM, &job_subject(kind, other, key))
                .await?
                && found.sequence < sequence
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) async fn letter(
        &self,
        kind: Kind,
        key: &JobKey,
    ) -> Result<Option<Stored>, QueueError> {
        self.last(DEAD_STREAM, &dead_subject(kind, key)).await
    }

    fn stored(&self, message: async_nats::jetstream::message::StreamMessage) -> Stored {
        let header = |name: HeaderName| message.headers.get(name).map(|value| value.to_string());
        Stored {
            subject: self.names.from_wire(&message.subject),
            sequence: message.sequence,
            envelope: Envelope::of(Some(&message.headers)),
            schedule: header(NATS_SCHEDULE),
            schedule_target: header(NATS_SCHEDULE_TARGET)
                .map(|target| self.names.from_wire(&target)),
            payload: message.payload,
            stored_ms: u64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
        }
    }
}

//! Dead letters: jobs that failed for good, with the reason; listed, shown, replayed, forgotten.
//!
//! Whoever may publish a letter may publish anything in its place. What cannot be decoded is no
//! letter: it stops nobody, blocks no job, and is listed apart until it is forgotten. A letter
//! whose job cannot be read is one, but says nothing of what the job would do today: whoever has
//! the job puts it into the queue anew ([`DeadLetters::renew`]).

use crate::{
    Connection, Envelope, RuntimeError,
    held::held,
    now_ms,
    queue::{NatsQueue, Published, Queue, Stored},
    redeliverer::{LONGEST_ERROR, dead_event},
    store::Store,
    undecodable::{Place, undecodable},
    verify::{LookUpError, StoredResult, Verifier},
    worker_name,
};
use bytes::Bytes;
use cedm_contract::{
    DEAD_STREAM, DeadLetter, FailureKind, Job, JobKey, Kind, MAX_MESSAGE_BYTES, SCHEMA_VERSION,
    dead_subject, filters,
};
use serde::Deserialize;
use std::sync::Arc;

/// Bytes of the largest job that a letter holds: with its error it stays below what the broker
/// takes.
const LARGEST_JOB: usize = 2 * MAX_MESSAGE_BYTES;

/// The dead letters. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    queue: NatsQueue,
    store: Arc<dyn Store>,
    verifier: Verifier,
}

/// A message among the dead letters that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndecodableMessage {
    /// Subject under which it is stored.
    pub subject: String,
    /// Size of the message in bytes.
    pub bytes: usize,
    /// Why it cannot be read.
    pub reason: String,
}

/// What became of a replayed letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// The job is queued again, with a fresh budget.
    Queued,
    /// It was queued already.
    AlreadyQueued,
    /// Its result exists by now; the letter is removed.
    Done,
}

impl DeadLetters {
    /// Access to the dead letters over an open connection.
    pub fn new(connection: &Connection) -> Self {
        Self {
            queue: connection.queue.clone(),
            store: connection.store.clone(),
            verifier: Verifier::new(connection.store.clone()),
        }
    }

    /// All letters that can be read, oldest first. A letter whose job has a sound result by now is
    /// removed instead (a worker that lost the job may finish after all).
    ///
    /// # Errors
    /// When NATS or the store fails.
    pub async fn list(&self) -> Result<Vec<DeadLetter>, RuntimeError> {
        let mut letters = Vec::new();
        for subject in self.queue.subjects(DEAD_STREAM, filters::DEAD).await? {
            let Some(stored) = self.queue.last(DEAD_STREAM, &subject).await? else {
                continue;
            };
            let Ok(letter) = decode(&stored) else {
                continue;
            };
            if self.has_result(&letter.key).await? {
                self.queue.remove(DEAD_STREAM, stored.sequence).await?;
            } else {
                letters.push(letter);
            }
        }
        letters.sort_by_key(|letter| letter.at_ms);
        Ok(letters)
    }

    /// Whether a job has a sound result. What a newer program wrote in its place is none that this
    /// one can vouch for.
    async fn has_result(&self, key: &JobKey) -> Result<bool, RuntimeError> {
        match self.verifier.look_up(key, false).await {
            Ok(found) => Ok(matches!(found, StoredResult::Sound(_))),
            Err(LookUpError::Newer(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The messages that are no letters, by subject.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn unreadable(&self) -> Result<Vec<UndecodableMessage>, RuntimeError> {
        let mut found = Vec::new();
        for subject in self.queue.subjects(DEAD_STREAM, filters::DEAD).await? {
            if let Some(stored) = self.queue.last(DEAD_STREAM, &subject).await?
                && let Err(reason) = decode(&stored)
            {
                found.push(UndecodableMessage {
                    subject,
                    bytes: stored.payload.len(),
                    reason,
                });
            }
        }
        found.sort_by(|a, b| a.subject.cmp(&b.subject));
        Ok(found)
    }

    /// Removes whatever is stored under a subject of dead letters; `false` when nothing was.
    ///
    /// # Errors
    /// When the subject is no such one, or NATS fails.
    pub async fn forget_subject(&self, subject: &str) -> Result<bool, RuntimeError> {
        // Wildcards would choose a letter that nobody named.
        if !filters::takes(filters::DEAD, subject) || subject.contains(['*', '>', ' ']) {
            return Err(anyhow::anyhow!(
                "`{subject}` is not the subject of a dead letter, expected cedm.dead.<kind>.<key>"
            )
            .into());
        }
        match self.queue.last(DEAD_STREAM, subject).await? {
            Some(stored) => Ok(self.queue.remove(DEAD_STREAM, stored.sequence).await?),
            None => Ok(false),
        }
    }

    /// How many there are, with those that cannot be read.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn count(&self) -> Result<u64, RuntimeError> {
        Ok(self.queue.subjects(DEAD_STREAM, filters::DEAD).await?.len() as u64)
    }

    /// The letter of one job.
    ///
    /// # Errors
    /// When NATS fails or the letter cannot be read.
    pub async fn show(&self, key: &JobKey) -> Result<Option<DeadLetter>, RuntimeError> {
        match self.find(key).await? {
            None => Ok(None),
            Some(stored) => required(&stored).map(Some),
        }
    }

    /// The letter of one job where it can be read: what lies there otherwise says nothing of the
    /// job.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn readable(&self, key: &JobKey) -> Result<Option<DeadLetter>, RuntimeError> {
        Ok(read(self.find(key).await?.as_ref()))
    }

    /// Queues the job again with a fresh budget, then removes the letter; a crash in between leaves
    /// both, which is harmless. A person asks for that, so it is done whatever became of the job's
    /// sweep.
    ///
    /// # Errors
    /// When there is no letter, it carries no readable job, or NATS fails.
    pub async fn replay(&self, key: &JobKey) -> Result<Replayed, RuntimeError> {
        let stored = self
            .find(key)
            .await?
            .ok_or_else(|| anyhow::anyhow!("no dead letter of job {key}"))?;
        let letter = required(&stored)?;
        let mut job = letter.job.ok_or_else(|| {
            anyhow::anyhow!(
                "the dead letter of {key} carries no readable job, and no sweep plans one of this \
                 key: `cedm dead forget` removes the letter"
            )
        })?;
        if let Some(sweep) = &job.hints.sweep
            && held(self.store.as_ref(), sweep).await?.is_some()
        {
            // A worker drops the jobs of such a sweep.
            job.hints.sweep = None;
        }
        let outcome = self.queue_anew(&job).await?;
        self.queue.remove(DEAD_STREAM, stored.sequence).await?;
        Ok(outcome)
    }

    /// The same for a letter whose job cannot be read, or a message in its place, with the job as
    /// its sweep plans it now.
    ///
    /// # Errors
    /// When NATS or the store fails.
    pub async fn renew(&self, job: &Job) -> Result<Replayed, RuntimeError> {
        let outcome = self.queue_anew(job).await?;
        self.forget_subject(&dead_subject(job.kind(), &job.key))
            .await?;
        Ok(outcome)
    }

    /// Puts a job among the letters that cannot be submitted as it is (too large for a message,
    /// say), with the reason, and says so by an event. A job that is too large for a letter is left
    /// out of it.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn give_up(&self, job: &Job, error: &str) -> Result<(), RuntimeError> {
        let letter = DeadLetter {
            schema: SCHEMA_VERSION,
            job: (job.message_bytes() <= LARGEST_JOB).then(|| job.clone()),
            kind: job.kind(),
            key: job.key.clone(),
            failure: FailureKind::Reject,
            error: error.chars().take(LONGEST_ERROR).collect(),
            attempts: 0,
            at_ms: now_ms(),
            worker: worker_name(),
            raw: Vec::new(),
        };
        self.queue.dead_letter(&letter).await?;
        let event = dead_event(&letter);
        Ok(self.queue.publish_event(&event, &Envelope::fresh()).await?)
    }

    async fn queue_anew(&self, job: &Job) -> Result<Replayed, RuntimeError> {
        let (kind, key) = (job.kind(), &job.key);
        if self.has_result(key).await? {
            return Ok(Replayed::Done);
        }
        if self.queue.outstanding(kind, key).await?.is_some() {
            return Ok(Replayed::AlreadyQueued);
        }
        let id = format!("replay-{}", ulid::Ulid::generate());
        let payload = Bytes::from(job.encode()?);
        let lane = (kind, job.priority);
        let published = self
            .queue
            .publish(lane, key, payload, Envelope::of_kind(kind), &id);
        Ok(match published.await? {
            Published::Stored => Replayed::Queued,
            Published::Occupied => Replayed::AlreadyQueued,
        })
    }

    /// Removes the letter of a job without doing it, and what lies in its place below other kinds;
    /// `false` when there was nothing.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn forget(&self, key: &JobKey) -> Result<bool, RuntimeError> {
        let mut forgotten = false;
        for stored in self.all_of(key).await? {
            forgotten |= self.queue.remove(DEAD_STREAM, stored.sequence).await?;
        }
        Ok(forgotten)
    }

    /// What lies below the subjects of a key, which several kinds may have where somebody lies.
    async fn all_of(&self, key: &JobKey) -> Result<Vec<Stored>, RuntimeError> {
        let mut found = Vec::new();
        let filter = filters::dead_of(key);
        for subject in self.queue.subjects(DEAD_STREAM, &filter).await? {
            found.extend(self.queue.last(DEAD_STREAM, &subject).await?);
        }
        Ok(found)
    }

    /// The letter of a key: the one that can be read, with a readable job rather than without.
    async fn find(&self, key: &JobKey) -> Result<Option<Stored>, RuntimeError> {
        let mut found = self.all_of(key).await?;
        found.sort_by_key(|stored| match decode(stored) {
            Ok(letter) if letter.job.is_some() => 0,
            Ok(_) => 1,
            Err(_) => 2,
        });
        Ok(found.into_iter().next())
    }
}

/// A letter whose job is decoded by itself: the rest tells what happened even to a job that this
/// build cannot read.
#[derive(Deserialize)]
struct DeadLetterHeader {
    schema: u32,
    kind: Kind,
    key: JobKey,
    failure: FailureKind,
    error: String,
    attempts: u64,
    at_ms: u64,
    worker: String,
    #[serde(default)]
    raw: Vec<u8>,
}

/// The letter in a stored message; `None` where it is none, which is counted.
pub(crate) fn read(stored: Option<&Stored>) -> Option<DeadLetter> {
    let stored = stored?;
    decode(stored).ok()
}

fn decode(stored: &Stored) -> Result<DeadLetter, String> {
    checked(stored).inspect_err(|reason| {
        let name = format!("{} ({})", stored.subject, stored.sequence);
        undecodable(Place::Dead, &name, reason);
    })
}

fn checked(stored: &Stored) -> Result<DeadLetter, String> {
    let mut letter = decoded(&stored.payload)?;
    // A letter below another job's subject would stop that job, and be replayed as a third.
    let own = dead_subject(letter.kind, &letter.key);
    if own != stored.subject {
        return Err(format!("the letter is that of `{own}`"));
    }
    let Some(job) = letter.job.take() else {
        return Ok(letter);
    };
    // So would a letter that carries another job.
    let computed = Job::key_of(&job.spec, &job.inputs);
    if job.kind() != letter.kind || job.key != letter.key {
        let (kind, key) = (job.kind(), &job.key);
        return Err(format!(
            "it carries the {kind} job {key}, not that of `{own}`"
        ));
    }
    // One for another version of its algorithm is kept by whom it concerns, and not replayed here.
    letter.job = (computed == job.key).then_some(job);
    Ok(letter)
}

fn decoded(payload: &[u8]) -> Result<DeadLetter, String> {
    if let Ok(letter) = rmp_serde::from_slice(payload) {
        return Ok(letter);
    }
    let header: DeadLetterHeader =
        rmp_serde::from_slice(payload).map_err(|error| error.to_string())?;
    Ok(DeadLetter {
        schema: header.schema,
        job: None,
        kind: header.kind,
        key: header.key,
        failure: header.failure,
        error: header.error,
        attempts: header.attempts,
        at_ms: header.at_ms,
        worker: header.worker,
        raw: header.raw,
    })
}

fn required(stored: &Stored) -> Result<DeadLetter, RuntimeError> {
    decode(stored).map_err(|reason| {
        anyhow::anyhow!(
            "the message at `{}` is not a dead letter: {reason}; `cedm dead forget` removes it",
            stored.subject
        )
        .into()
    })
}

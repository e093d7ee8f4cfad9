//! Dead letters: jobs that failed for good, with the reason; listed, shown, replayed, forgotten.
//!
//! Whoever may publish a letter may publish anything in its place. What cannot be decoded is no
//! letter: it stops nobody, blocks no job, and is listed apart until it is forgotten.

use crate::{
    Connection, Envelope, RuntimeError,
    queue::{NatsQueue, Published, Queue, Stored},
    verify::{Found, Verifier},
};
use bytes::Bytes;
use cedm_contract::{DEAD_STREAM, DeadLetter, JobKey, dead_subject};

/// The dead letters. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    queue: NatsQueue,
    verifier: Verifier,
}

/// A message among the dead letters that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLetter {
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
            verifier: Verifier::new(connection.store.clone()),
        }
    }

    /// All letters that can be read, oldest first. A letter whose job has a sound result by now is removed instead
    /// (a worker that lost the job may finish after all).
    ///
    /// # Errors
    /// When NATS or the store fails.
    pub async fn list(&self) -> Result<Vec<DeadLetter>, RuntimeError> {
        let mut letters = Vec::new();
        for subject in self.queue.subjects(DEAD_STREAM, "cedm.dead.>").await? {
            let Some(stored) = self.queue.last(DEAD_STREAM, &subject).await? else {
                continue;
            };
            let Ok(letter) = decode(&stored) else {
                continue;
            };
            if let Found::Sound(_) = self.verifier.look_up(&letter.key, false).await? {
                self.queue.remove(DEAD_STREAM, stored.sequence).await?;
            } else {
                letters.push(letter);
            }
        }
        letters.sort_by_key(|letter| letter.at_ms);
        Ok(letters)
    }

    /// The messages that are no letters, by subject.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn unreadable(&self) -> Result<Vec<UnreadableLetter>, RuntimeError> {
        let mut found = Vec::new();
        for subject in self.queue.subjects(DEAD_STREAM, "cedm.dead.>").await? {
            if let Some(stored) = self.queue.last(DEAD_STREAM, &subject).await?
                && let Err(reason) = decode(&stored)
            {
                found.push(UnreadableLetter {
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
        if !subject.starts_with("cedm.dead.") || subject.contains(['*', '>', ' ']) {
            return Err(anyhow::anyhow!(
                "`{subject}` is no subject of a dead letter, expected cedm.dead.<kind>.<key>"
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
        Ok(self.queue.subjects(DEAD_STREAM, "cedm.dead.>").await?.len() as u64)
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

    /// The letter of one job where it can be read: what lies there otherwise says nothing of the job.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn readable(&self, key: &JobKey) -> Result<Option<DeadLetter>, RuntimeError> {
        Ok(read(self.find(key).await?.as_ref()))
    }

    /// Queues the job again with a fresh budget, then removes the letter; a crash in between leaves
    /// both, which is harmless.
    ///
    /// # Errors
    /// When there is no letter, it carries no readable job, or NATS fails.
    pub async fn replay(&self, key: &JobKey) -> Result<Replayed, RuntimeError> {
        let stored = self
            .find(key)
            .await?
            .ok_or_else(|| anyhow::anyhow!("no dead letter of job {key}"))?;
        let letter = required(&stored)?;
        let job = letter.job.ok_or_else(|| {
            anyhow::anyhow!(
                "the dead letter of {key} carries no readable job: submit its sweep again"
            )
        })?;
        let outcome = if let Found::Sound(_) = self.verifier.look_up(key, false).await? {
            Replayed::Done
        } else if self.queue.outstanding(letter.kind, key).await?.is_some() {
            Replayed::AlreadyQueued
        } else {
            let id = format!("replay-{}", ulid::Ulid::generate());
            match self
                .queue
                .publish(
                    (letter.kind, job.priority),
                    key,
                    Bytes::from(job.encode()?),
                    Envelope::fresh(),
                    &id,
                )
                .await?
            {
                Published::Stored => Replayed::Queued,
                Published::Occupied => Replayed::AlreadyQueued,
            }
        };
        self.queue.remove(DEAD_STREAM, stored.sequence).await?;
        Ok(outcome)
    }

    /// Removes a letter without doing its job; `false` when there was none.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn forget(&self, key: &JobKey) -> Result<bool, RuntimeError> {
        match self.find(key).await? {
            Some(stored) => Ok(self.queue.remove(DEAD_STREAM, stored.sequence).await?),
            None => Ok(false),
        }
    }

    async fn find(&self, key: &JobKey) -> Result<Option<Stored>, RuntimeError> {
        Ok(self
            .queue
            .last(DEAD_STREAM, &format!("cedm.dead.*.{key}"))
            .await?)
    }
}

/// The letter in a stored message; `None` where it is none, which is logged.
pub(crate) fn read(stored: Option<&Stored>) -> Option<DeadLetter> {
    let stored = stored?;
    decode(stored)
        .inspect_err(|reason| {
            tracing::warn!(
                subject = stored.subject,
                reason,
                "a message among the dead letters cannot be read; `cedm dead forget` removes it"
            );
        })
        .ok()
}

fn decode(stored: &Stored) -> Result<DeadLetter, String> {
    let letter: DeadLetter =
        rmp_serde::from_slice(&stored.payload).map_err(|error| error.to_string())?;
    // A letter below another job's subject would stop that job, and be replayed as a third.
    let own = dead_subject(letter.kind, &letter.key);
    if own == stored.subject {
        Ok(letter)
    } else {
        Err(format!("the letter is that of `{own}`"))
    }
}

fn required(stored: &Stored) -> Result<DeadLetter, RuntimeError> {
    decode(stored).map_err(|reason| {
        anyhow::anyhow!(
            "the message at `{}` is no dead letter: {reason}; `cedm dead forget` removes it",
            stored.subject
        )
        .into()
    })
}

//! Dead letters: jobs that failed for good, with the reason; listed, shown, replayed.

use crate::{
    Connection, Envelope, RuntimeError,
    queue::{NatsQueue, Published, Queue, Stored},
    verify::{Found, Verifier},
};
use bytes::Bytes;
use cedm_contract::{DEAD_STREAM, DeadLetter, JobKey};

/// The dead letters. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    queue: NatsQueue,
    verifier: Verifier,
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

    /// All letters, oldest first. A letter whose job has a sound result by now is removed instead
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
            let Some(letter) = read(Some(&stored))? else {
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

    /// How many there are.
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
        read(self.find(key).await?.as_ref())
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
        let letter = read(Some(&stored))?.expect("invariant: a stored letter was given");
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

/// The letter in a stored message.
pub(crate) fn read(stored: Option<&Stored>) -> Result<Option<DeadLetter>, RuntimeError> {
    let Some(stored) = stored else {
        return Ok(None);
    };
    match rmp_serde::from_slice(&stored.payload) {
        Ok(letter) => Ok(Some(letter)),
        Err(error) => Err(anyhow::anyhow!(
            "dead letter at `{}` cannot be decoded: {error}",
            stored.subject
        )
        .into()),
    }
}

//! Submitting a job: reuse what verifies, attach to what is outstanding, else publish.

use crate::{
    Connection, Envelope, RuntimeError,
    commit::{Committed, commit},
    failpoint::failpoint,
    queue::{NatsQueue, Published, Queue, Stored},
    store::{Store, ensure_identity},
    verify::{Found, LookUpError, SetAside, Verifier},
};
use bytes::Bytes;
use cedm_contract::{
    DELAYS_STREAM, DeadLetter, Event, EventWhat, JOBS_STREAM, Job, JobKey, Kind, Manifest,
    Priority, job_subject, parse_job_subject,
};
use std::sync::Arc;

/// What became of a submitted job.
#[derive(Debug)]
pub enum SubmitOutcome {
    /// Its result exists and verifies.
    Cached(Box<Manifest>),
    /// It is queued now.
    Queued,
    /// It was queued, being performed or waiting for a retry already; all who submit it share its
    /// result.
    AlreadyQueued,
    /// It is in the dead letters and stays there until it is replayed.
    Dead(Box<DeadLetter>),
}

/// Something outstanding in the queue.
#[derive(Debug, Clone)]
pub struct Outstanding {
    /// Key of the job.
    pub key: JobKey,
    /// Kind of the job.
    pub kind: Kind,
    /// Priority with which the job was queued.
    pub priority: Priority,
    /// Whether it waits for the time of its next try.
    pub delayed: bool,
}

/// Submits jobs and looks after outstanding ones. Cheap to clone.
#[derive(Clone)]
pub struct Submitter {
    queue: NatsQueue,
    store: Arc<dyn Store>,
    verifier: Verifier,
    identity: Arc<tokio::sync::OnceCell<Option<ulid::Ulid>>>,
}

impl Submitter {
    /// A submitter over an open connection.
    pub fn new(connection: &Connection) -> Self {
        Self {
            queue: connection.queue.clone(),
            store: connection.store.clone(),
            verifier: Verifier::new(connection.store.clone()),
            identity: Arc::default(),
        }
    }

    /// A submitter that counts nothing as verified yet: what was proven earlier in this process may
    /// have been damaged since.
    #[must_use]
    pub fn afresh(&self) -> Self {
        Self {
            verifier: Verifier::new(self.store.clone()),
            ..self.clone()
        }
    }

    /// Submits a job (protocol step 2). Idempotent: the same job submitted twice is done once.
    ///
    /// # Errors
    /// When NATS or the store fails; submit again.
    pub async fn submit(&self, job: &Job) -> Result<SubmitOutcome, RuntimeError> {
        let (kind, key) = (job.kind(), &job.key);
        if let Some(manifest) = self.manifest_or_discard(kind, key).await? {
            return Ok(SubmitOutcome::Cached(manifest));
        }
        if let Some(found) = self.queue.outstanding(kind, key).await? {
            return self.attach(job, &found).await;
        }
        if let Some(letter) = self.letter(kind, key).await? {
            return Ok(SubmitOutcome::Dead(Box::new(letter)));
        }
        let payload = Bytes::from(job.encode()?);
        let id = format!("submit-{}", ulid::Ulid::generate());
        let envelope = Envelope {
            store: self.identity().await?,
            ..Envelope::of_kind(kind)
        };
        match self
            .queue
            .publish((kind, job.priority), key, payload, envelope, &id)
            .await?
        {
            Published::Occupied => Ok(SubmitOutcome::AlreadyQueued),
            // A crash after this is a job without an owner: it is done, and whoever plans again
            // finds it.
            Published::Stored => {
                failpoint("after-publish");
                self.withdraw_if_later(job).await
            }
        }
    }

    /// Attaches to an outstanding job. One that waits behind less urgent ones is moved to the lane asked
    /// for: published there, then removed from where it was. Only one that no worker has received: it is
    /// done once. If a worker receives the old message in between, the protocol's own rule holds, that of
    /// two attempts one is committed; after a crash in between the later worker finds the result.
    async fn attach(&self, job: &Job, found: &Stored) -> Result<SubmitOutcome, RuntimeError> {
        let Ok((kind, under, key)) = parse_job_subject(&found.subject) else {
            return Ok(SubmitOutcome::AlreadyQueued);
        };
        let waits = found.subject.starts_with("cedm.job.") && job.priority < under;
        let lane = (kind, under);
        if !waits || self.queue.was_delivered(lane, found.sequence).await? {
            return Ok(SubmitOutcome::AlreadyQueued);
        }
        let payload = Bytes::from(job.encode()?);
        let id = format!("raise-{}", ulid::Ulid::generate());
        let lane = (kind, job.priority);
        let envelope = found.envelope.clone();
        self.queue
            .publish(lane, &key, payload, envelope, &id)
            .await?;
        failpoint("after-raise");
        self.queue.remove(JOBS_STREAM, found.sequence).await?;
        tracing::info!(job = %key, %kind, from = %under, to = %job.priority, "a queued job became more urgent");
        Ok(SubmitOutcome::Queued)
    }

    /// The id of the store, read or written once per process.
    async fn identity(&self) -> Result<Option<ulid::Ulid>, RuntimeError> {
        let known = self
            .identity
            .get_or_try_init(|| ensure_identity(self.store.as_ref()));
        Ok(*known.await?)
    }

    /// A subject holds one job, and the priority is part of it: of two submitters at once under two
    /// priorities the later one takes its own back.
    async fn withdraw_if_later(&self, job: &Job) -> Result<SubmitOutcome, RuntimeError> {
        let (kind, priority, key) = (job.kind(), job.priority, &job.key);
        match self
            .queue
            .last(JOBS_STREAM, &job_subject(kind, priority, key))
            .await?
        {
            Some(ours)
                if self
                    .queue
                    .has_earlier_copy(kind, priority, key, ours.sequence)
                    .await? =>
            {
                self.queue.remove(JOBS_STREAM, ours.sequence).await?;
                Ok(SubmitOutcome::AlreadyQueued)
            }
            _ => Ok(SubmitOutcome::Queued),
        }
    }

    /// The result of a job, if it exists and its objects verify (sizes now, digests once per
    /// process). A broken one is moved aside, loudly, so that the job can be done again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn manifest_or_discard(
        &self,
        kind: Kind,
        key: &JobKey,
    ) -> Result<Option<Box<Manifest>>, RuntimeError> {
        match self.verifier.look_up(key, true).await? {
            Found::Nothing => Ok(None),
            Found::Sound(manifest) => Ok(Some(manifest)),
            Found::Broken(reason) => {
                tracing::warn!(job = %key, %kind, %reason, "a stored result does not verify; \
                    looked at again");
                if let SetAside::Sound(manifest) = self.verifier.set_aside(key, true).await? {
                    return Ok(Some(manifest));
                }
                self.announce_discarded(kind, key, &reason).await?;
                Ok(None)
            }
        }
    }

    /// Looks into the results that workers gave notice of (they may not move them aside), and moves
    /// those aside that do not verify. Which keys have no result now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settle_notices(&self) -> Result<Vec<JobKey>, RuntimeError> {
        Ok(self.verifier.settle_notices().await?)
    }

    /// The result of a job, if it exists and the sizes of its objects are right; nothing is
    /// changed. What a newer program wrote in its place is none that this one can use.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn manifest(&self, key: &JobKey) -> Result<Option<Manifest>, RuntimeError> {
        match self.verifier.look_up(key, false).await {
            Ok(Found::Sound(manifest)) => Ok(Some(*manifest)),
            Ok(Found::Nothing | Found::Broken(..)) | Err(LookUpError::Newer(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Commits a result that was made without a worker: its objects are all stored, the manifest is
    /// put last, create-only. Which result is committed afterwards.
    ///
    /// # Errors
    /// When the store fails or gives no clear answer.
    pub async fn commit(&self, manifest: &Manifest) -> Result<Committed, RuntimeError> {
        failpoint("before-commit");
        let committed = commit(self.store.as_ref(), &self.verifier, manifest).await?;
        failpoint("after-commit");
        Ok(committed)
    }

    /// Says that a result exists that no worker has just made (a cache hit, an import).
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn announce_done(
        &self,
        manifest: &Manifest,
        cached: bool,
    ) -> Result<(), RuntimeError> {
        self.announce(
            manifest.kind(),
            &manifest.key,
            EventWhat::Done,
            cached,
            String::new(),
        )
        .await
    }

    /// Says that a result does not exist any more, and why: coordinators make it again where a sweep
    /// needs it.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn announce_discarded(
        &self,
        kind: Kind,
        key: &JobKey,
        reason: &str,
    ) -> Result<(), RuntimeError> {
        let message = format!("stored result discarded: {reason}");
        self.announce(kind, key, EventWhat::Failed, false, message)
            .await
    }

    async fn announce(
        &self,
        kind: Kind,
        key: &JobKey,
        what: EventWhat,
        cached: bool,
        message: String,
    ) -> Result<(), RuntimeError> {
        let event = Event {
            cached,
            message,
            ..crate::redeliverer::event(kind, key, what)
        };
        Ok(self.queue.publish_event(&event, &Envelope::fresh()).await?)
    }

    /// Whether a job is queued, being performed, or delayed.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn is_outstanding(&self, kind: Kind, key: &JobKey) -> Result<bool, RuntimeError> {
        Ok(self.queue.outstanding(kind, key).await?.is_some())
    }

    /// The message of an outstanding job, for `explain`.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn look_up(&self, kind: Kind, key: &JobKey) -> Result<Option<Stored>, RuntimeError> {
        Ok(self.queue.outstanding(kind, key).await?)
    }

    /// Everything outstanding, of one kind or of all.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn outstanding(&self, kind: Option<Kind>) -> Result<Vec<Outstanding>, RuntimeError> {
        let kind = kind.map_or("*".to_owned(), |kind| kind.to_string());
        let mut subjects = self
            .queue
            .subjects(JOBS_STREAM, &format!("cedm.job.{kind}.>"))
            .await?;
        subjects.extend(
            self.queue
                .subjects(DELAYS_STREAM, &format!("cedm.*.{kind}.>"))
                .await?,
        );
        let parsed = subjects.iter().filter_map(|subject| {
            // What lies elsewhere becomes a dead letter, by the redeliverer.
            let (kind, priority, key) = parse_job_subject(subject).ok()?;
            Some(Outstanding {
                key,
                kind,
                priority,
                delayed: !subject.starts_with("cedm.job."),
            })
        });
        Ok(parsed.collect())
    }

    /// Withdraws an outstanding job. A worker that is performing it finishes it; its result is
    /// kept.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn cancel(&self, kind: Kind, key: &JobKey) -> Result<bool, RuntimeError> {
        let mut cancelled = false;
        while let Some(found) = self.queue.outstanding(kind, key).await? {
            let stream = if found.subject.starts_with("cedm.job.") {
                JOBS_STREAM
            } else {
                DELAYS_STREAM
            };
            cancelled |= self.queue.remove(stream, found.sequence).await?;
        }
        Ok(cancelled)
    }

    async fn letter(&self, kind: Kind, key: &JobKey) -> Result<Option<DeadLetter>, RuntimeError> {
        Ok(crate::dead::read(
            self.queue.letter(kind, key).await?.as_ref(),
        ))
    }
}

//! Errors: of a job (what its kind decides about the message) and of the runtime itself.

use cedm_contract::{FailureKind, JobKey};
use std::time::Duration;

/// Why an attempt ended without a result; only the variant decides between nak, term and alarm.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The world was in the way (store, broker, disk): again after a delay.
    #[error("{source:#}")]
    Retry {
        /// When to try again.
        after: Duration,
        /// What happened.
        source: anyhow::Error,
    },
    /// The job itself is wrong (bad input, impossible parameters): straight to the dead letters.
    #[error("{source:#}")]
    Reject {
        /// What happened.
        source: anyhow::Error,
    },
    /// The program is wrong (broken invariant): again, and loudly.
    #[error("{source:#}")]
    Bug {
        /// What happened.
        source: anyhow::Error,
    },
    /// An input is gone, damaged, or was made again with another result. It has to be made again
    /// first; then whoever wants this job asks for it anew, so it leaves the queue without using up
    /// its tries.
    #[error("{source:#}")]
    InputLost {
        /// The job whose result that input is.
        input: JobKey,
        /// What happened.
        source: anyhow::Error,
    },
    /// The process is draining; a checkpoint was written and another worker goes on at once.
    #[error("stopped by drain at a checkpoint")]
    Drained,
}

impl JobError {
    /// The job itself is wrong.
    pub fn reject(source: impl Into<anyhow::Error>) -> Self {
        Self::Reject {
            source: source.into(),
        }
    }
    /// The world was in the way; again after five seconds.
    pub fn retry(source: impl Into<anyhow::Error>) -> Self {
        Self::Retry {
            after: Duration::from_secs(5),
            source: source.into(),
        }
    }
    /// The program is wrong.
    pub fn bug(source: impl Into<anyhow::Error>) -> Self {
        Self::Bug {
            source: source.into(),
        }
    }
    /// The kind as it goes into dead letters; `None` for a drain and a lost input, which are no
    /// failures of the job.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            JobError::Retry { .. } => Some(FailureKind::Retry),
            JobError::Reject { .. } => Some(FailureKind::Reject),
            JobError::Bug { .. } => Some(FailureKind::Bug),
            JobError::InputLost { .. } | JobError::Drained => None,
        }
    }

    /// Whether the store did not answer: a reason to ask whether it answers anybody.
    pub(crate) fn is_unanswered(&self) -> bool {
        use crate::{
            store::{StoreError, StoreErrorKind},
            verify::LookUpError,
        };
        let JobError::Retry { source, .. } = self else {
            return false;
        };
        source.chain().any(|cause| {
            let store = match cause.downcast_ref::<LookUpError>() {
                Some(LookUpError::Store(error)) => Some(error),
                _ => cause.downcast_ref::<StoreError>(),
            };
            store.is_some_and(|error| error.kind == StoreErrorKind::Unavailable)
        })
    }
}

/// What the runtime itself can fail at.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The broker refused or did not answer.
    #[error("NATS: {action}: {reason}")]
    Broker {
        /// What was tried.
        action: String,
        /// The cause, with its chain.
        reason: String,
    },
    /// The queue refused or did not answer.
    #[error(transparent)]
    Queue(#[from] crate::QueueError),
    /// The store refused or did not answer.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// A message, manifest or identifier that is not what it should be.
    #[error(transparent)]
    Contract(#[from] cedm_contract::ContractError),
    /// Somebody else changed the entry first.
    #[error("bucket `{bucket}`: `{key}` was changed by another process meanwhile")]
    Conflict {
        /// Which bucket.
        bucket: &'static str,
        /// Which entry.
        key: String,
    },
    /// Anything, with its chain.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl RuntimeError {
    pub(crate) fn broker(action: impl Into<String>, error: impl std::error::Error) -> Self {
        Self::Broker {
            action: action.into(),
            reason: chain(&error),
        }
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many libraries repeat the cause in their own message.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

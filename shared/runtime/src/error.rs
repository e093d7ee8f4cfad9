//! Errors: of a job (what its kind decides about the message) and of the runtime itself.

use cedm_contract::FailureKind;
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
    /// The process is draining; a checkpoint was written and another worker goes on at once.
    #[error("stopped by drain at a checkpoint")]
    Drained,
}

impl JobError {
    /// The job itself is wrong.
    pub fn reject(source: impl Into<anyhow::Error>) -> Self {
        Self::Reject { source: source.into() }
    }
    /// The world was in the way; again after five seconds.
    pub fn retry(source: impl Into<anyhow::Error>) -> Self {
        Self::Retry { after: Duration::from_secs(5), source: source.into() }
    }
    /// The program is wrong.
    pub fn bug(source: impl Into<anyhow::Error>) -> Self {
        Self::Bug { source: source.into() }
    }
    /// The kind as it goes into dead letters; `None` for a drain, which is no failure.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            JobError::Retry { .. } => Some(FailureKind::Retry),
            JobError::Reject { .. } => Some(FailureKind::Reject),
            JobError::Bug { .. } => Some(FailureKind::Bug),
            JobError::Drained => None,
        }
    }
}

/// What the runtime itself can fail at.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Anything, with its chain.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

//! Errors: of a job (what its kind decides about the message) and of the runtime itself.

use crate::stall::Stall;
use cedm_contract::{ContractError, FailureKind, JobKey, Kind, Service};
use cedm_fault::{DeviceFault, Fault, HasFault, device_fault};
use std::{error::Error, fmt, sync::Arc, time::Duration};

/// Why an attempt ended without a result. The variant alone decides whether the job is retried,
/// moved to the dead letters, or returned to the queue.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The store, the broker or the disk failed: retried after a delay.
    #[error("{source:#}")]
    Retry {
        /// When to try again.
        after: Duration,
        /// The error, with its causes.
        source: anyhow::Error,
    },
    /// The job itself is wrong (bad input, impossible parameters): moved to the dead letters at
    /// once.
    #[error("{source:#}")]
    Reject {
        /// The error, with its causes.
        source: anyhow::Error,
    },
    /// The program is wrong (broken invariant): retried, and logged as an error.
    #[error("{source:#}")]
    Bug {
        /// The error, with its causes.
        source: anyhow::Error,
    },
    /// An input is missing, damaged, or was recomputed with another result. It has to be recomputed
    /// first, after which the coordinator submits this job again; so this one leaves the queue
    /// without using up its tries.
    #[error("{source:#}")]
    InputLost {
        /// The job whose result that input is.
        input: JobKey,
        /// The error, with its causes.
        source: anyhow::Error,
    },
    /// The job showed no progress for too long. It is retried like a failed one, and the process
    /// exits, since a computation cannot be ended from within. The runtime makes it, no worker
    /// does.
    #[error(transparent)]
    Stalled(Stall),
    /// The accelerator failed in a way that no later call of this process survives. The job is
    /// retried like a failed one, and the process exits for another to start. The runtime makes it
    /// from the text of any error of a worker.
    #[error("{source:#}")]
    DeviceLost {
        /// The error, with its causes.
        source: anyhow::Error,
    },
    /// The process is draining; a checkpoint was written and another worker continues at once.
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
    /// The store, the broker or the disk failed; retried after five seconds.
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
    /// The error inside, for programs that perform no job: this one's own text has all of it
    /// already.
    pub fn into_source(self) -> anyhow::Error {
        match self {
            Self::Retry { source, .. }
            | Self::Reject { source }
            | Self::Bug { source }
            | Self::InputLost { source, .. } => source,
            other => other.into(),
        }
    }
    /// The kind as it goes into dead letters; `None` for a drain and a lost input, which are not
    /// failures of the job.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            JobError::Retry { .. } | JobError::Stalled(_) | JobError::DeviceLost { .. } => {
                Some(FailureKind::Retry)
            }
            JobError::Reject { .. } => Some(FailureKind::Reject),
            JobError::Bug { .. } => Some(FailureKind::Bug),
            JobError::InputLost { .. } | JobError::Drained => None,
        }
    }

    /// What a message of another shape than expected means for the job: a message of a newer
    /// program is left to a newer worker, anything else fails again in the same way. (A function
    /// and not [`HasFault`], because the contract crate depends on no other crate of this
    /// workspace.)
    pub fn contract(error: ContractError) -> Self {
        match error {
            ContractError::NewerSchema { .. } | ContractError::OtherVersion { .. } => {
                Self::retry(error)
            }
            ContractError::Malformed { .. }
            | ContractError::Decode { .. }
            | ContractError::TooLarge { .. }
            | ContractError::Role { .. }
            | ContractError::OtherSubject { .. }
            | ContractError::OtherKind { .. } => Self::reject(error),
        }
    }

    /// The same error, unless its text says that the device is lost.
    pub(crate) fn or_device_lost(self) -> Self {
        match (&self, device_fault(&format!("{self:#}"))) {
            (
                Self::Retry { .. } | Self::Reject { .. } | Self::Bug { .. },
                Some(DeviceFault::Lost),
            ) => Self::DeviceLost {
                source: self.into(),
            },
            _ => self,
        }
    }

    /// A job of a kind that the service does not perform: nothing that the service could do later
    /// would change that.
    pub fn wrong_kind(service: Service, found: Kind) -> Self {
        let kinds: Vec<&str> = service.kinds().iter().map(|kind| kind.token()).collect();
        Self::reject(anyhow::anyhow!(
            "this is a {found} job, the {} performs {} jobs",
            service.name(),
            kinds.join(", ")
        ))
    }

    /// Whether the store did not answer, or has no room left.
    pub(crate) fn outage(&self) -> Option<Outage> {
        use crate::{
            store::{StoreError, StoreErrorKind},
            verify::LookUpError,
        };
        let JobError::Retry { source, .. } = self else {
            return None;
        };
        source.chain().find_map(|cause| {
            let store = match cause.downcast_ref::<LookUpError>() {
                Some(LookUpError::Store(error)) => Some(error),
                _ => cause.downcast_ref::<StoreError>(),
            };
            match store?.kind {
                // Keys may be revoked and buckets renamed while jobs run: not by the jobs' fault.
                StoreErrorKind::Unavailable | StoreErrorKind::Misconfigured => {
                    Some(Outage::NoAnswer)
                }
                StoreErrorKind::Full => Some(Outage::Full),
                StoreErrorKind::Denied
                | StoreErrorKind::Missing
                | StoreErrorKind::Damaged
                | StoreErrorKind::Local => None,
            }
        })
    }
}

/// What a failed request says about the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// It did not answer this request, or not to the end.
    NoAnswer,
    /// It says that its disk is full.
    Full,
}

/// Decides by whose fault an error is what happens to the job, so that `?` suffices in a worker.
impl<E: HasFault + Send + Sync + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        match error.fault() {
            Fault::Input => JobError::reject(error),
            Fault::Unavailable => JobError::retry(error),
            Fault::Bug => JobError::bug(error),
        }
    }
}

/// What can fail in the runtime itself.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The broker refused or did not answer.
    #[error("NATS: {action}")]
    Broker {
        /// The request that failed, for the error text.
        action: String,
        /// The error of the client library.
        source: Cause,
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
    /// A job showed no progress for too long: the process has to end.
    #[error(transparent)]
    Stalled(Stall),
    /// The accelerator of this process failed: the process has to end.
    #[error("the accelerator failed, and this process cannot compute with it any more")]
    DeviceLost,
    /// This process has another store than the coordinator.
    #[error(
        "this process has another store than the coordinator: its own {}, the coordinator's is \
         {expected}. Compare CEDM_S3_ENDPOINT and CEDM_S3_BUCKET; if the coordinator's is the wrong \
         one, or the store was replaced on purpose: `nats kv del CEDM_system store`, and restart \
         the coordinator",
        found.map_or("has no id".to_owned(), |found| format!("is {found}"))
    )]
    OtherStore {
        /// The id of this process's store, if it has one.
        found: Option<ulid::Ulid>,
        /// That of the coordinator's.
        expected: ulid::Ulid,
    },
    /// Another process changed the entry first.
    #[error("bucket `{bucket}`: `{key}` was changed by another process meanwhile")]
    Conflict {
        /// Name of the bucket.
        bucket: &'static str,
        /// Key of the entry that was changed.
        key: String,
    },
    /// Anything else; its causes follow as sources.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl RuntimeError {
    pub(crate) fn broker(
        action: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Broker {
            action: action.into(),
            source: Cause::new(source),
        }
    }
}

/// The cause of another error, shared so that the error can be cloned. Its text is one line with
/// all causes below it, each once: many libraries repeat a cause in their own message, and printed
/// as a chain they would say everything twice. Hence it names no further source; [`Cause::error`]
/// has it.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into().into())
    }

    /// The error itself, with its own sources.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.as_ref()
    }
}

impl Error for Cause {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.0.as_ref()))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An error with all its causes in one line, each once: for logs.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many libraries repeat the cause in their own message, after a colon. Only whole parts
        // count: "disk" is not said by "disk cache".
        if !format!(": {text}: ").contains(&format!(": {cause_text}: ")) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("{0:?}")]
    struct Failure(Fault);

    impl HasFault for Failure {
        fn fault(&self) -> Fault {
            self.0
        }
    }

    #[test]
    fn the_fault_of_an_error_decides_about_the_job() {
        for (fault, expected) in [
            (Fault::Input, FailureKind::Reject),
            (Fault::Unavailable, FailureKind::Retry),
            (Fault::Bug, FailureKind::Bug),
        ] {
            assert_eq!(JobError::from(Failure(fault)).kind(), Some(expected));
        }
        let disk = JobError::from(io::Error::other("disk full"));
        assert_eq!(disk.kind(), Some(FailureKind::Retry));
    }

    #[test]
    fn a_message_of_a_newer_program_waits_for_a_newer_worker() {
        let newer = ContractError::NewerSchema {
            what: "manifest",
            found: 9,
            supported: 1,
        };
        let kind = JobError::contract(newer).kind();
        assert_eq!(kind, Some(FailureKind::Retry));
        let damaged = ContractError::Decode {
            what: "manifest",
            reason: "end of input".to_owned(),
        };
        let kind = JobError::contract(damaged).kind();
        assert_eq!(kind, Some(FailureKind::Reject));
    }

    #[test]
    fn a_job_of_a_wrong_kind_is_rejected_by_every_service() {
        for service in [Service::Bounds, Service::Trainer, Service::Evaluator] {
            let error = JobError::wrong_kind(service, Kind::Report);
            assert_eq!(error.kind(), Some(FailureKind::Reject));
            assert!(error.to_string().starts_with("this is a report job, the "));
        }
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        let io = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        let error = RuntimeError::broker("connect to nats://host", io);
        let expected = "NATS: connect to nats://host: connection refused";
        assert_eq!(chain(&error), expected);
        assert_eq!(format!("{:#}", anyhow::Error::from(error)), expected);
    }

    #[test]
    fn a_chain_keeps_a_cause_that_is_only_part_of_a_word_before_it() {
        let part = anyhow::anyhow!("disk").context("write to the disk cache");
        assert_eq!(chain(part.as_ref()), "write to the disk cache: disk");
        let whole = anyhow::anyhow!("disk").context("write: disk: full");
        assert_eq!(chain(whole.as_ref()), "write: disk: full");
    }
}

//! The one error type of this crate.

use crate::{JobKey, Kind};

/// What is wrong with a message or an identifier.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// A text that should be an identifier is not one.
    #[error("{what} `{found}` is malformed: expected {expected}")]
    Malformed {
        /// Sort of identifier that was expected, for the error text: `job key`, `digest`,
        /// `priority`, …
        what: &'static str,
        /// The text as found.
        found: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// A message of a newer program.
    #[error(
        "{what} has schema version {found}, this program reads up to {supported}: upgrade this service"
    )]
    NewerSchema {
        /// Sort of message for the error text: `job`, `manifest`, …
        what: &'static str,
        /// Schema version that the message carries.
        found: u32,
        /// Newest version this build reads.
        supported: u32,
    },
    /// A job for another version of the algorithm than the one that this program performs.
    #[error(
        "the job is for version {found} of the algorithm `{kind}`, this program performs version \
         {supported}: it waits for a worker of version {found}"
    )]
    OtherVersion {
        /// Kind of the job.
        kind: Kind,
        /// [`crate::JobKind::VERSION`] of the program that made the job.
        found: u32,
        /// That of this program.
        supported: u32,
    },
    /// A message whose contents belong below another subject.
    #[error("the message at `{subject}` belongs to {found}")]
    OtherSubject {
        /// Where the message was found, cut to 120 characters.
        subject: String,
        /// What its contents belong to.
        found: String,
    },
    /// Bytes that are not the message they should be.
    #[error("{what} cannot be decoded: {reason}")]
    Decode {
        /// Sort of message for the error text: `job`, `manifest`, …
        what: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A message above [`crate::MAX_MESSAGE_BYTES`].
    #[error(
        "{what} takes {found} bytes, at most {limit} are allowed: use larger shards so that a job \
         names fewer inputs"
    )]
    TooLarge {
        /// Sort of message for the error text: `job`, `manifest`, …
        what: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Inputs that are not those of the job's kind.
    #[error("input `{role}` of a {kind} job: found {found}, expected {expected}")]
    Role {
        /// Kind of the job that names the input.
        kind: Kind,
        /// Role of the input as the job names it, cut to 80 characters.
        role: String,
        /// What was found in that role.
        found: String,
        /// What the kind reads.
        expected: String,
    },
    /// A job or manifest of another kind than the one that can be used.
    #[error("{key} is a {found} job, expected a {expected} job")]
    OtherKind {
        /// Key of the job or manifest that was given.
        key: JobKey,
        /// Kind of the job or manifest that was given.
        found: Kind,
        /// The kind that can be used.
        expected: Kind,
    },
}

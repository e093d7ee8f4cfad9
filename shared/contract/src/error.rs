//! The one error type of this crate.

use crate::{JobKey, Kind};

/// What is wrong with a message or an identifier.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// A text that should be an identifier is not one.
    #[error("{what} `{found}` is malformed: expected {expected}")]
    Malformed {
        /// Which identifier.
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
        /// Which message.
        what: &'static str,
        /// Version found.
        found: u32,
        /// Newest version this build reads.
        supported: u32,
    },
    /// Bytes that are not the message they should be.
    #[error("{what} cannot be decoded: {reason}")]
    Decode {
        /// Which message.
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
        /// Which message.
        what: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Inputs that are not those of the job's kind.
    #[error("input `{role}` of a {kind} job: found {found}, expected {expected}")]
    Role {
        /// The job's kind.
        kind: Kind,
        /// The role.
        role: String,
        /// What was found in that role.
        found: String,
        /// What the kind reads.
        expected: String,
    },
    /// A job or manifest of another kind than the one that can be used.
    #[error("{key} is a {found} job, expected a {expected} job")]
    OtherKind {
        /// The job.
        key: JobKey,
        /// Its kind.
        found: Kind,
        /// The kind that can be used.
        expected: Kind,
    },
}

//! The one error type of this crate.

/// What is wrong with a message, an identifier or a sweep file.
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
        /// The decoder's words.
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
}

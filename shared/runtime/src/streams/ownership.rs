//! Whose a stream is: the mark in its metadata, without which nothing is altered.

use async_nats::jetstream::stream;
use cedm_contract::Names;
use std::collections::HashMap;

/// Key of the mark in a stream's metadata; its value is the installation's prefix.
const OWNER: &str = "cedm.owner";

/// The metadata of an installation's streams.
pub(super) fn mark(names: &Names) -> HashMap<String, String> {
    HashMap::from([(OWNER.to_owned(), names.prefix().to_owned())])
}

/// Whether a stream has the mark of this installation.
pub(super) fn is_marked(names: &Names, existing: &stream::Config) -> bool {
    existing.metadata.get(OWNER).map(String::as_str) == Some(names.prefix())
}

/// Accepts a stream of this installation alone.
///
/// # Errors
/// When another application, or another installation, made it; the error says which and what to do.
pub(super) fn check(names: &Names, existing: &stream::Config) -> anyhow::Result<()> {
    if is_marked(names, existing) {
        return Ok(());
    }
    let found = match existing.metadata.get(OWNER) {
        Some(owner) => format!("`{owner}`"),
        None => "none".to_owned(),
    };
    anyhow::bail!(
        "stream {} belongs to another application (subjects {:?}): `{OWNER}` in its metadata is {found}, expected `{}`; \
         it was left as it is. Give C-EDM a prefix of its own (CEDM_NATS_PREFIX) or a NATS account of its own",
        existing.name,
        existing.subjects,
        names.prefix()
    )
}

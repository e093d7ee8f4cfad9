//! Jobs by the first digits of their keys, as people type them.

use anyhow::{Result, bail};
use cedm_contract::{JobKey, Kind};
use cedm_runtime::{Connection, DeadLetters, EventFilter, Submitter, past_events};
use std::collections::BTreeSet;

/// Every known key that starts with `prefix`: of results, of outstanding jobs, of dead ones.
///
/// # Errors
/// When the store or NATS fails.
pub async fn matching(connection: &Connection, prefix: &str) -> Result<BTreeSet<JobKey>> {
    let stored = connection
        .store()
        .list(&format!("manifest/{prefix}"))
        .await?;
    let mut keys: BTreeSet<JobKey> = stored
        .iter()
        .filter_map(|object| object.key.strip_prefix("manifest/")?.parse().ok())
        .collect();
    keys.extend(
        Submitter::new(connection)
            .outstanding(None)
            .await?
            .into_iter()
            .map(|job| job.key),
    );
    keys.extend(
        DeadLetters::new(connection)
            .list()
            .await?
            .into_iter()
            .map(|letter| letter.key),
    );
    keys.retain(|key| key.as_str().starts_with(prefix));
    Ok(keys)
}

/// The one job that `text` means.
///
/// # Errors
/// When none or several fit.
pub async fn find(connection: &Connection, text: &str) -> Result<JobKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    if text.len() < 4 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("`{text}` is no job key: expected at least four of its 40 hexadecimal digits");
    }
    let found: Vec<JobKey> = matching(connection, &text.to_lowercase())
        .await?
        .into_iter()
        .collect();
    match found.as_slice() {
        [key] => Ok(key.clone()),
        [] => bail!("no job has a key that starts with {text}"),
        several => {
            let list: Vec<&str> = several.iter().map(JobKey::short).collect();
            bail!(
                "{} jobs have keys that start with {text}: {}",
                several.len(),
                list.join(", ")
            )
        }
    }
}

/// The kind of a job of which only the key is known: its events say it.
///
/// # Errors
/// When NATS fails.
pub async fn kind_of(connection: &Connection, key: &JobKey) -> Result<Option<Kind>> {
    let filter = EventFilter {
        key: Some(key.clone()),
        ..EventFilter::default()
    };
    Ok(past_events(connection, &filter)
        .await?
        .first()
        .map(|event| event.kind))
}

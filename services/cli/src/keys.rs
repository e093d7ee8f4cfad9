//! Job keys by their first digits, as people type them.

use anyhow::{Result, bail};
use cedm_contract::{JobKey, MANIFEST_PREFIX};
use cedm_runtime::{Connection, DeadLetters, Submitter};
use std::collections::BTreeSet;

/// The only job whose key starts with `text`.
///
/// # Errors
/// When there is none, or more than one.
pub async fn find(connection: &Connection, text: &str) -> Result<JobKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    if text.len() < 4 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("`{text}` is not a job key: expected at least four of its 40 hexadecimal digits");
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

/// Every known key that starts with `prefix`: of results, queued or running jobs, and dead letters.
async fn matching(connection: &Connection, prefix: &str) -> Result<BTreeSet<JobKey>> {
    let stored = connection
        .store()
        .list(&format!("{MANIFEST_PREFIX}{prefix}"))
        .await?;
    let mut keys: BTreeSet<JobKey> = stored
        .iter()
        .filter_map(|object| object.key.strip_prefix(MANIFEST_PREFIX)?.parse().ok())
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

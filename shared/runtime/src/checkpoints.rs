//! Checkpoints of long jobs: the file first, then a create-only record with its size and digest. An
//! attempt resumes from the highest step whose record and file verify, whoever wrote it. While the
//! job runs the newest few are kept, and all are removed when it is done.

use crate::{
    error::chain,
    failpoint::failpoint,
    store::{Body, Created, Store, StoreError, StoreErrorKind, measure_file},
    undecodable::{Place, undecodable},
};
use bytes::Bytes;
use cedm_contract::{Attempt, Digest, JobKey, checkpoint_key, checkpoint_prefix};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How many checkpoints of a running job are kept: one that turns out to be damaged has others
/// before it.
const KEPT: usize = 3;
/// Ends the name of a record.
const RECORD: &str = ".json";

/// What a record says of its file.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    size: u64,
    digest: Digest,
}

/// Stores `file` as the checkpoint at `step`. The same step of the same attempt twice is the same
/// checkpoint.
pub(crate) async fn write(
    store: &dyn Store,
    key: &JobKey,
    attempt: &Attempt,
    step: u64,
    file: &Path,
) -> Result<(), StoreError> {
    let name = checkpoint_key(key, step, attempt);
    let (size, digest) =
        measure_file(file).map_err(|error| StoreError::local("put", &name, error))?;
    store.put(&name, Body::File(file)).await?;
    failpoint("inside-checkpoint");
    let record =
        serde_json::to_vec(&Record { size, digest }).expect("invariant: plain data always encodes");
    match store
        .put_if_absent(&format!("{name}{RECORD}"), Bytes::from(record))
        .await?
    {
        Created::Yes | Created::Exists => {
            failpoint("after-checkpoint");
            Ok(())
        }
        // Without its record the checkpoint does not count; the job continues without it.
        Created::Conflict => Err(StoreError::new(
            "create",
            &name,
            StoreErrorKind::Unavailable,
            "409",
        )),
        Created::Unknown(reason) => Err(StoreError::new(
            "create",
            &name,
            StoreErrorKind::Unavailable,
            reason,
        )),
    }
}

/// The highest checkpoint that verifies, downloaded into `folder`.
pub(crate) async fn resume(
    store: &dyn Store,
    key: &JobKey,
    folder: &Path,
) -> Result<Option<(u64, PathBuf)>, StoreError> {
    let prefix = checkpoint_prefix(key);
    let mut names: Vec<String> = store
        .list(&prefix)
        .await?
        .into_iter()
        .map(|listed| listed.key)
        .collect();
    // Steps are zero-padded: names sort by step.
    names.sort_unstable_by(|a, b| b.cmp(a));
    for record_name in names.iter().filter(|name| name.ends_with(RECORD)) {
        let name = record_name.trim_end_matches(RECORD);
        let Some(step) = name[prefix.len()..]
            .split('-')
            .next()
            .and_then(|step| step.parse().ok())
        else {
            continue;
        };
        let Some(record) = store.get(record_name).await? else {
            continue;
        };
        let Some(record) = decode(record_name, &record) else {
            continue;
        };
        let file = folder.join(format!("checkpoint-{step}-{}", ulid::Ulid::generate()));
        match store.download(name, &file).await? {
            Some((size, digest)) if size == record.size && digest == record.digest => {
                return Ok(Some((step, file)));
            }
            _ => tracing::warn!(
                checkpoint = name,
                "checkpoint does not verify, an earlier one is used"
            ),
        }
    }
    Ok(None)
}

/// A record; `None` where it is none, which is counted: an earlier checkpoint is used then.
fn decode(name: &str, bytes: &[u8]) -> Option<Record> {
    serde_json::from_slice(bytes)
        .inspect_err(|error| undecodable(Place::Checkpoints, name, &error.to_string()))
        .ok()
}

/// Whether deliveries of this message (by its sequence) advanced the job beyond what was stored
/// before: a job whose workers die but that continues from checkpoint to checkpoint is not
/// one that kills every worker.
pub(crate) async fn advanced_by(
    store: &dyn Store,
    key: &JobKey,
    sequence: u64,
) -> Result<bool, StoreError> {
    let prefix = checkpoint_prefix(key);
    let (mut ours, mut others) = (0, 0);
    for listed in store.list(&prefix).await? {
        let Some((step, attempt)) = listed.key[prefix.len()..]
            .strip_suffix(RECORD)
            .and_then(|name| name.split_once('-'))
        else {
            continue;
        };
        let (Ok(step), Ok(attempt)) = (step.parse::<u64>(), attempt.parse::<Attempt>()) else {
            continue;
        };
        let highest = if attempt.sequence == sequence {
            &mut ours
        } else {
            &mut others
        };
        *highest = step.max(*highest);
    }
    Ok(ours > others)
}

/// Removes all but the newest few checkpoints of a running job, and what unfinished checkpoints
/// before those have left. A checkpoint counts where its record can be read and its file has the
/// size that the record states.
pub(crate) async fn prune(store: &dyn Store, key: &JobKey) -> Result<(), StoreError> {
    let prefix = checkpoint_prefix(key);
    let mut listed = store.list(&prefix).await?;
    // Steps are zero-padded: names sort by step.
    listed.sort_unstable_by(|a, b| b.key.cmp(&a.key));
    let size_of = |name: &str| {
        let found = listed.iter().find(|listed| listed.key == name);
        found.map(|listed| listed.size)
    };
    let mut whole = Vec::new();
    for name in listed
        .iter()
        .filter_map(|listed| listed.key.strip_suffix(RECORD))
    {
        let record_name = format!("{name}{RECORD}");
        let record = store.get(&record_name).await?;
        let record = record.and_then(|bytes| decode(&record_name, &bytes));
        if record.is_some_and(|record| size_of(name) == Some(record.size)) {
            whole.push(name);
        }
        if whole.len() == KEPT {
            break;
        }
    }
    let Some(oldest) = whole.get(KEPT - 1) else {
        return Ok(());
    };
    // From the end of the alphabet on: the record of a checkpoint goes before its file, so that a
    // crash in between leaves a file that does not count.
    for old in listed.iter().filter(|listed| listed.key.as_str() < *oldest) {
        store.delete(&old.key).await?;
    }
    Ok(())
}

/// Removes all checkpoints of a job whose manifest is committed. Best effort: what stays is read by
/// nothing, and may be deleted by hand.
pub(crate) async fn remove(store: &dyn Store, key: &JobKey) {
    let removed = async {
        for listed in store.list(&checkpoint_prefix(key)).await? {
            store.delete(&listed.key).await?;
        }
        Ok::<_, StoreError>(())
    };
    if let Err(error) = removed.await {
        tracing::warn!(error = %chain(&error), "checkpoints of a finished job were not removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RamStore;

    #[tokio::test]
    async fn the_newest_whole_ones_are_kept_while_a_job_runs() {
        let (store, folder) = (RamStore::default(), tempfile::tempdir().unwrap());
        let (key, attempt) = (JobKey::of(b"job"), Attempt::new(1, 1));
        let file = folder.path().join("state");
        for step in 1..=200 {
            std::fs::write(&file, format!("state at {step}")).unwrap();
            write(&store, &key, &attempt, step, &file).await.unwrap();
            // Every tenth loses its record or is cut short.
            let name = checkpoint_key(&key, step, &attempt);
            match step % 20 {
                0 => store.put(&name, Body::Bytes("cut".into())).await.unwrap(),
                10 => store.delete(&format!("{name}{RECORD}")).await.unwrap(),
                _ => {}
            }
            prune(&store, &key).await.unwrap();
            assert!(store.snapshot().len() <= 2 * KEPT + 2, "at step {step}");
        }
        // 200 is cut short: those before it are the newest that are whole.
        for step in [199, 198, 197] {
            let name = checkpoint_key(&key, step, &attempt);
            assert_eq!(store.snapshot()[&name], format!("state at {step}"));
        }
        let (step, _) = resume(&store, &key, folder.path()).await.unwrap().unwrap();
        assert_eq!(step, 199);
        assert!(advanced_by(&store, &key, 1).await.unwrap());
    }

    #[tokio::test]
    async fn the_highest_that_verifies_is_taken() {
        let (store, folder) = (RamStore::default(), tempfile::tempdir().unwrap());
        let (key, first, second) = (JobKey::of(b"job"), Attempt::new(1, 1), Attempt::new(1, 2));
        let file = folder.path().join("state");
        for (attempt, step) in [(&first, 5), (&first, 10), (&second, 15), (&second, 20)] {
            std::fs::write(&file, format!("state at {step}")).unwrap();
            write(&store, &key, attempt, step, &file).await.unwrap();
        }
        assert!(advanced_by(&store, &key, 1).await.unwrap());
        let third = Attempt::new(2, 1);
        std::fs::write(&file, "state at 20").unwrap();
        write(&store, &key, &third, 20, &file).await.unwrap();
        assert!(
            !advanced_by(&store, &key, 2).await.unwrap(),
            "as far as the others is no further"
        );
        for name in [
            checkpoint_key(&key, 20, &third),
            format!("{}{RECORD}", checkpoint_key(&key, 20, &third)),
        ] {
            store.delete(&name).await.unwrap();
        }
        // 20 was cut off before its record, 15 was damaged.
        store
            .delete(&format!("{}{RECORD}", checkpoint_key(&key, 20, &second)))
            .await
            .unwrap();
        store
            .put(
                &checkpoint_key(&key, 15, &second),
                Body::Bytes(b"state at 00".as_slice().into()),
            )
            .await
            .unwrap();
        let (step, path) = resume(&store, &key, folder.path()).await.unwrap().unwrap();
        assert_eq!(
            (step, std::fs::read_to_string(path).unwrap().as_str()),
            (10, "state at 10")
        );
        remove(&store, &key).await;
        assert!(store.snapshot().is_empty());
        assert!(resume(&store, &key, folder.path()).await.unwrap().is_none());
    }
}

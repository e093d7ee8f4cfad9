//! Names of image sets: `dataset/<name>` points to the job that imported the set.

use super::ImportArgs;
use anyhow::{Context, Result, ensure};
use cedm_contract::{DATASET_PREFIX, JobKey, Manifest, dataset_key, is_dataset_name};
use cedm_runtime::{
    Connection, Submitter, chain,
    store::{Body, StoreErrorKind},
};
use serde::{Deserialize, Serialize};

/// What is stored at `dataset/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pointer {
    /// Key of the import job.
    key: JobKey,
}

/// Points the name at the import; an existing name is moved only with `--replace`.
pub(super) async fn point(
    connection: &Connection,
    args: &ImportArgs,
    manifest: &Manifest,
) -> Result<()> {
    let (store, key) = (connection.store(), dataset_key(&args.name));
    let wanted = serde_json::to_vec(&Pointer {
        key: manifest.key.clone(),
    })?;
    match read(connection, &args.name).await? {
        None => {}
        Some(Ok(known)) if known == manifest.key => return Ok(()),
        Some(Ok(known)) => ensure!(
            args.replace,
            "the name `{}` belongs to another image set (import {}): choose another name, or pass \
             --replace; submitted sweeps keep the image set that they were submitted with",
            args.name,
            known.short()
        ),
        Some(Err(reason)) => ensure!(
            args.replace,
            "the name `{}` is damaged ({reason}): pass --replace to write it again",
            args.name
        ),
    }
    store.put(&key, Body::Bytes(wanted.into())).await?;
    Ok(())
}

/// The import that a name points to, `None` for an unknown name; or why the pointer cannot be read.
async fn read(connection: &Connection, name: &str) -> Result<Option<Result<JobKey, String>>> {
    let key = dataset_key(name);
    let bytes = match connection.store().get(&key).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) if error.kind == StoreErrorKind::Damaged => return Ok(Some(Err(chain(&error)))),
        Err(error) => return Err(error.into()),
    };
    let pointer: Result<Pointer, _> = serde_json::from_slice(&bytes);
    Ok(Some(pointer.map(|pointer| pointer.key).map_err(|error| {
        format!(
            "object `{key}` has {} bytes that name no import: {error}",
            bytes.len()
        )
    })))
}

/// Every name of an image set with the import that it points to, or why it cannot be read.
///
/// # Errors
/// When the store fails.
pub async fn names(connection: &Connection) -> Result<Vec<(String, Result<JobKey, String>)>> {
    let mut names = Vec::new();
    for object in connection.store().list(DATASET_PREFIX).await? {
        let name = object.key.strip_prefix(DATASET_PREFIX).unwrap_or_default();
        // What no image set can be called is none: `cedm fsck` lists it.
        if !is_dataset_name(name) {
            continue;
        }
        // One that was removed since it was listed is none.
        if let Some(found) = read(connection, name).await? {
            names.push((name.to_owned(), found));
        }
    }
    Ok(names)
}

/// Removes a name; the images stay. Returns whether it was there.
///
/// # Errors
/// When the store fails.
pub async fn remove_name(connection: &Connection, name: &str) -> Result<bool> {
    let key = dataset_key(name);
    let is_there = connection.store().size(&key).await?.is_some();
    if is_there {
        connection.store().delete(&key).await?;
    }
    Ok(is_there)
}

/// The names of image sets that point to nothing readable, as sentences.
///
/// # Errors
/// When the store fails.
pub async fn damaged_names(connection: &Connection) -> Result<Vec<String>> {
    let names = names(connection).await?.into_iter();
    let damaged = names.filter_map(|(name, found)| Some(damaged(&name, &found.err()?)));
    Ok(damaged.collect())
}

pub(crate) fn damaged(name: &str, reason: &str) -> String {
    format!(
        "image set `{name}`: its name is damaged ({reason}); `cedm import PATH --name {name} \
         --replace` writes it again"
    )
}

/// The import manifest of a named image set.
///
/// # Errors
/// When the name is unknown, its import is missing or damaged, or the store fails.
pub async fn resolve(connection: &Connection, name: &str) -> Result<Manifest> {
    let store = connection.store();
    let Some(found) = read(connection, name).await? else {
        let listed = store.list(DATASET_PREFIX).await?;
        let names: Vec<&str> = listed
            .iter()
            .filter_map(|object| object.key.strip_prefix(DATASET_PREFIX))
            .collect();
        let hint = if names.is_empty() {
            "nothing has been imported yet".to_owned()
        } else {
            format!("known are {}", names.join(", "))
        };
        anyhow::bail!("image set `{name}` not found; {hint} (`cedm import PATH --name {name}`)");
    };
    let key = found.map_err(|reason| anyhow::anyhow!(damaged(name, &reason)))?;
    let manifest = Submitter::new(connection).manifest(&key).await?;
    manifest.with_context(|| {
        format!(
            "image set `{name}`: its import {} is missing or damaged; import it again",
            key.short()
        )
    })
}

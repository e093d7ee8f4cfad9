//! Names of image sets: `dataset/<name>` points to the job that imported the set.

use super::ImportArgs;
use anyhow::{Context, Result, ensure};
use cedm_contract::{JobKey, Manifest};
use cedm_runtime::{Connection, Submitter, store::Body};
use serde::{Deserialize, Serialize};

/// What is stored at `dataset/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pointer {
    /// Key of the import job.
    key: JobKey,
}

/// The object key of an image set's name.
fn pointer_key(name: &str) -> String {
    format!("dataset/{name}")
}

/// Points the name at the import; an existing name is moved only with `--replace`.
pub(super) async fn point(
    connection: &Connection,
    args: &ImportArgs,
    manifest: &Manifest,
) -> Result<()> {
    let (store, key) = (connection.store(), pointer_key(&args.name));
    let wanted = serde_json::to_vec(&Pointer {
        key: manifest.key.clone(),
    })?;
    if let Some(bytes) = store.get(&key).await? {
        let known: Pointer =
            serde_json::from_slice(&bytes).with_context(|| format!("object {key} is damaged"))?;
        if known.key == manifest.key {
            return Ok(());
        }
        ensure!(
            args.replace,
            "the name `{}` belongs to another image set (import {}): choose another name, or pass \
             --replace; submitted sweeps keep the image set that they were submitted with",
            args.name,
            known.key.short()
        );
    }
    store.put(&key, Body::Bytes(wanted.into())).await?;
    Ok(())
}

/// The import manifest of a named image set.
///
/// # Errors
/// When the name is unknown, its import is missing or damaged, or the store fails.
pub async fn resolve(connection: &Connection, name: &str) -> Result<Manifest> {
    let store = connection.store();
    let Some(bytes) = store.get(&pointer_key(name)).await? else {
        let listed = store.list("dataset/").await?;
        let names: Vec<&str> = listed
            .iter()
            .filter_map(|object| object.key.strip_prefix("dataset/"))
            .collect();
        let hint = if names.is_empty() {
            "nothing has been imported yet".to_owned()
        } else {
            format!("known are {}", names.join(", "))
        };
        anyhow::bail!("image set `{name}` not found; {hint} (`cedm import PATH --name {name}`)");
    };
    let pointer: Pointer = serde_json::from_slice(&bytes)
        .with_context(|| format!("object dataset/{name} is damaged"))?;
    let manifest = Submitter::new(connection).manifest(&pointer.key).await?;
    manifest.with_context(|| {
        format!(
            "image set `{name}`: its import {} is missing or damaged; import it again",
            pointer.key.short()
        )
    })
}

//! Objects that no program reads: of names that none of them gives, or marks of sweeps that were
//! never submitted. They break nothing; `fsck` lists them, and removes them when it is told to.

use anyhow::Result;
use cedm_contract::{SWEEP_PREFIX, is_object_key};
use cedm_runtime::Connection;
use cedm_sweep::lifecycle::strange_keys;
use cedm_terminal::outln;

/// Names that are printed; a flood of them must not hide the rest.
const SHOWN: usize = 20;
/// Most names that `--output json` lists.
const LISTED: usize = 1000;

/// Those below a prefix.
///
/// # Errors
/// When the store fails.
pub(super) async fn below(connection: &Connection, prefix: &str) -> Result<Vec<String>> {
    let listed = connection.store().list(prefix).await?.into_iter();
    let mut names: Vec<String> = listed.map(|object| object.key).collect();
    names.retain(|name| !is_object_key(name));
    let of_sweeps = in_sweeps(connection).await?.into_iter();
    names.extend(of_sweeps.filter(|name| name.starts_with(prefix)));
    Ok(names)
}

/// Those below `sweep/` whose names have the form of a sweep's.
///
/// # Errors
/// When the store fails.
pub(super) async fn in_sweeps(connection: &Connection) -> Result<Vec<String>> {
    let listed = connection.store().list(SWEEP_PREFIX).await?;
    let keys: Vec<&str> = listed.iter().map(|object| object.key.as_str()).collect();
    let strange = strange_keys(&keys).into_iter();
    let strange = strange.filter(|key| is_object_key(key));
    Ok(strange.map(str::to_owned).collect())
}

/// The names that are listed in JSON.
pub(super) fn listed(names: &[String]) -> &[String] {
    &names[..names.len().min(LISTED)]
}

/// Prints them and how they are removed.
pub(super) fn print(names: &[String]) {
    for name in &names[..names.len().min(SHOWN)] {
        outln!("strange: {name:?}: no program reads an object of this name");
    }
    if names.len() > SHOWN {
        outln!(
            "strange: and {} more, in `--output json` up to {LISTED}",
            names.len() - SHOWN
        );
    }
    if !names.is_empty() {
        outln!(
            "`cedm fsck --remove NAME` removes one, `--remove 'PREFIX*'` all below a prefix; copies are \
             kept below suspect/"
        );
    }
}

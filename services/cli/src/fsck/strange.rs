//! Objects that no program reads: of names that none of them gives, or marks of sweeps that were
//! never submitted. They break nothing; `fsck` lists them, and removes them when it is told to.

use anyhow::Result;
use cedm_contract::{SWEEP_PREFIX, SweepId, is_object_key};
use cedm_runtime::Connection;
use cedm_sweep::lifecycle::{Marks, is_name};
use cedm_terminal::outln;
use std::collections::BTreeMap;

/// Names that are printed; a flood of them must not hide the rest.
const SHOWN: usize = 20;
/// Names in JSON.
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
    let listed = connection.store().list(SWEEP_PREFIX).await?.into_iter();
    let names: Vec<String> = listed.map(|object| object.key).collect();
    let marks = Marks::by_sweep(names.iter().map(String::as_str));
    let strange = |name: &String| is_object_key(name) && !is_of_sweep(name, &marks);
    Ok(names.into_iter().filter(strange).collect())
}

fn is_of_sweep(key: &str, marks: &BTreeMap<SweepId, Marks>) -> bool {
    let rest = key.strip_prefix(SWEEP_PREFIX).unwrap_or_default();
    let Some((id, what)) = rest.split_once('/') else {
        return false;
    };
    let id = id.parse::<SweepId>().ok();
    is_name(what) && id.is_some_and(|id| marks.get(&id).is_some_and(|marks| marks.spec))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_sweeps_are_told_from_what_only_lies_there() {
        let keys = [
            "sweep/a/spec",
            "sweep/a/done-2",
            "sweep/a/note",
            "sweep/b/done",
            "sweep/No Name/spec",
        ];
        let marks = Marks::by_sweep(keys);
        let own: Vec<&str> = keys
            .into_iter()
            .filter(|key| is_of_sweep(key, &marks))
            .collect();
        assert_eq!(own, ["sweep/a/spec", "sweep/a/done-2"]);
    }
}

//! `cedm fsck --remove`: what cannot be read is removed by the name under which `fsck` lists it.

use super::strange;
use crate::{args::Output, import::dataset};
use anyhow::{Context, Result, bail, ensure};
use cedm_contract::{
    DATASET_PREFIX, JobKey, MANIFEST_PREFIX, SUSPECT_PREFIX, filters, is_dataset_name,
};
use cedm_runtime::{Connection, UnreadableEvent, Verifier, forget_event};
use cedm_terminal::{outjson, outln};

/// The name of a message that is no event: its subject, and its place in the stream.
pub(super) fn event_name(event: &UnreadableEvent) -> String {
    format!("{}#{}", event.subject, event.sequence)
}

/// Removes what these names mean, and says so.
///
/// # Errors
/// When a name means nothing, or something that can be read; what stands before it is removed then.
pub(super) async fn remove(
    connection: &Connection,
    names: &[String],
    output: Output,
) -> Result<()> {
    for name in names {
        let removed = remove_one(connection, name)
            .await
            .with_context(|| format!("remove `{name}`"))?;
        let Removed { count, kept } = removed;
        match (output, kept) {
            (Output::Json, _) => {
                outjson!(serde_json::json!({"removed": name, "count": count, "kept": kept}))
            }
            (Output::Text, true) if count == 1 => {
                outln!("{name} is removed; a copy is below suspect/")
            }
            (Output::Text, false) if count == 1 => outln!("{name} is removed"),
            (Output::Text, true) => outln!("{name}: {count} removed; copies are below suspect/"),
            (Output::Text, false) => outln!("{name}: {count} removed"),
        }
    }
    Ok(())
}

struct Removed {
    count: usize,
    /// Whether copies are kept.
    kept: bool,
}

async fn remove_one(connection: &Connection, name: &str) -> Result<Removed> {
    let one = |kept| Removed { count: 1, kept };
    if filters::takes(filters::EVENTS, name) {
        let place = name.rsplit_once('#');
        let place = place.and_then(|(subject, place)| Some((subject, place.parse().ok()?)));
        let (subject, sequence) = place.context("expected <subject>#<sequence>")?;
        let removed = forget_event(connection, subject, sequence).await?;
        ensure!(removed, "there is no such message");
        return Ok(one(false));
    }
    let store = connection.store();
    let verifier = Verifier::new(store.clone());
    let prefix = name.strip_suffix('*');
    // Copies go for good: they are what was removed before.
    if name.starts_with(SUSPECT_PREFIX) {
        let listed = store.list(prefix.unwrap_or(name)).await?;
        let found = listed
            .iter()
            .filter(|object| prefix.is_some() || object.key == name);
        let mut count = 0;
        for object in found {
            store.delete(&object.key).await?;
            count += 1;
        }
        ensure!(count > 0, "there is none");
        return Ok(Removed { count, kept: false });
    }
    if let Some(Ok(key)) = name.strip_prefix(MANIFEST_PREFIX).map(str::parse::<JobKey>) {
        ensure!(
            verifier.set_newer_aside(&key).await?,
            "there is none, or one that this program can read: `cedm fsck --repair` sets broken ones \
             aside"
        );
        return Ok(one(true));
    }
    if let Some(set) = name
        .strip_prefix(DATASET_PREFIX)
        .filter(|set| is_dataset_name(set))
    {
        let names = dataset::names(connection).await?;
        let found = names.into_iter().find(|(found, _)| found == set);
        let (_, pointer) = found.context("there is none")?;
        ensure!(
            pointer.is_err(),
            "it can be read: `cedm import --replace` moves it"
        );
        verifier.set_strange_aside(name).await?;
        return Ok(one(true));
    }
    let found = strange::below(connection, prefix.unwrap_or(name))
        .await?
        .into_iter();
    let found: Vec<String> = found
        .filter(|found| prefix.is_some() || found == name)
        .collect();
    if found.is_empty() {
        bail!(
            "there is none that no program reads; expected a name as `cedm fsck` lists it; `cedm dead \
             forget` removes letters, `cedm cancel` ends sweeps"
        );
    }
    for name in &found {
        verifier.set_strange_aside(name).await?;
    }
    Ok(Removed {
        count: found.len(),
        kept: true,
    })
}

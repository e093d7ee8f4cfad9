//! `cedm fsck --remove`: what cannot be read is removed by the name under which `fsck` lists it.

use crate::args::Output;
use anyhow::{Context, Result, bail, ensure};
use cedm_contract::JobKey;
use cedm_runtime::{Connection, UnreadableEvent, Verifier, forget_event};
use cedm_terminal::{outjson, outln};

/// Where manifests lie.
const MANIFESTS: &str = "manifest/";

/// The name of a message that is no event: its subject, and its place in the stream.
pub(super) fn event_name(event: &UnreadableEvent) -> String {
    format!("{}#{}", event.subject, event.sequence)
}

/// Removes what these names mean, and says so. Objects are kept below `suspect/`.
///
/// # Errors
/// When a name means nothing, or something that can be read; what stands before it is removed then.
pub(super) async fn remove(
    connection: &Connection,
    names: &[String],
    output: Output,
) -> Result<()> {
    for name in names {
        let kept = remove_one(connection, name)
            .await
            .with_context(|| format!("remove `{name}`"))?;
        match output {
            Output::Json => outjson!(serde_json::json!({"removed": name, "kept": kept})),
            Output::Text if kept => outln!("{name} is removed; a copy is below suspect/"),
            Output::Text => outln!("{name} is removed"),
        }
    }
    Ok(())
}

/// Whether a copy is kept.
async fn remove_one(connection: &Connection, name: &str) -> Result<bool> {
    if name.starts_with("cedm.evt.") {
        let place = name.rsplit_once('#');
        let place = place.and_then(|(subject, place)| Some((subject, place.parse().ok()?)));
        let (subject, sequence) = place.context("expected <subject>#<sequence>")?;
        let removed = forget_event(connection, subject, sequence).await?;
        ensure!(removed, "there is no such message");
        return Ok(false);
    }
    let verifier = Verifier::new(connection.store().clone());
    let Some(key) = name.strip_prefix(MANIFESTS) else {
        bail!(
            "expected a name as `cedm fsck` lists it: cedm.evt.…#<sequence>, or {MANIFESTS}<key>; \
             `cedm dead forget` removes letters, `cedm cancel` ends sweeps"
        );
    };
    let removed = match key.parse::<JobKey>() {
        Ok(key) => verifier.set_newer_aside(&key).await?,
        Err(_) => verifier.set_strange_aside(name).await?,
    };
    ensure!(
        removed,
        "there is none, or one that this program can read: `cedm fsck --repair` sets broken ones aside"
    );
    Ok(true)
}

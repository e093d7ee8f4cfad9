//! `cedm fsck --repair`: what is broken is set aside, and the sweeps that need it run again.

use crate::sweeps::Reader;
use anyhow::Result;
use cedm_contract::{JobKey, Kind, SweepId};
use cedm_runtime::{
    Connection, EventFilter, Findings, Quarantine, Submitter, Verifier, Violation, past_events,
};
use cedm_sweep::lifecycle::Phase;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::BTreeMap;

/// Results that are set aside at the same time: each waits for a second look.
const CONCURRENCY: usize = 16;

/// What a repair did.
#[derive(Debug, Default, Serialize)]
pub(super) struct Repair {
    /// Results that do not exist any more; those that a sweep needs are made again.
    pub(super) set_aside: Vec<JobKey>,
    /// Image sets among them, which nobody but `cedm import` can make again.
    pub(super) imports: Vec<JobKey>,
    /// What is still broken.
    pub(super) left: Vec<Violation>,
    /// Sweeps that had ended complete and run again.
    pub(super) reopened: Vec<SweepId>,
}

/// Moves broken manifests to `suspect/manifest/` after a second look, tells the coordinators, and
/// reopens the complete sweeps that lack results now; of these only `only`, where it is given.
///
/// # Errors
/// When the store or NATS fails; repair again.
pub(super) async fn repair(
    connection: &Connection,
    findings: &Findings,
    only: Option<&SweepId>,
) -> Result<Repair> {
    let mut repair = Repair::default();
    if !findings.violations.is_empty() {
        set_aside(connection, findings, &mut repair).await?;
    }
    // A new reader: what is set aside must not be remembered.
    let mut reader = Reader::new(connection);
    for id in reader.in_phase(Phase::Damaged).await? {
        if only.is_none_or(|only| *only == id) {
            reader.reopen(&id).await?;
            repair.reopened.push(id);
        }
    }
    connection.flush().await;
    Ok(repair)
}

async fn set_aside(
    connection: &Connection,
    findings: &Findings,
    repair: &mut Repair,
) -> Result<()> {
    let kinds = &kinds(connection).await?;
    let verifier = &Verifier::new(connection.store().clone());
    let submitter = &Submitter::new(connection);
    let outcomes: Vec<(&Violation, bool)> = futures::stream::iter(&findings.violations)
        .map(|violation| async move {
            let key = &violation.key;
            let is_gone = matches!(verifier.quarantine(key, true).await?, Quarantine::Gone);
            if let (true, Some(kind)) = (is_gone, kinds.get(key)) {
                submitter
                    .publish_discarded(*kind, key, &violation.reason)
                    .await?;
            }
            anyhow::Ok((violation, is_gone))
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    for (violation, is_gone) in outcomes {
        if !is_gone {
            repair.left.push(violation.clone());
            continue;
        }
        if kinds.get(&violation.key) == Some(&Kind::Import) {
            repair.imports.push(violation.key.clone());
        }
        repair.set_aside.push(violation.key.clone());
    }
    Ok(())
}

/// The kinds of jobs, as events and sweeps tell: a damaged manifest does not.
async fn kinds(connection: &Connection) -> Result<BTreeMap<JobKey, Kind>> {
    let events = past_events(connection, &EventFilter::default()).await?;
    let mut kinds: BTreeMap<JobKey, Kind> = events
        .into_iter()
        .map(|event| (event.key, event.kind))
        .collect();
    for entry in Reader::new(connection).entries().await? {
        if let Some(view) = entry.view() {
            let known = view
                .keys()
                .filter_map(|key| Some((key.clone(), view.kind(key)?)));
            kinds.extend(known);
            let images = view.sweep.image_sets();
            kinds.extend(images.map(|key| (key.clone(), Kind::Import)));
        }
    }
    Ok(kinds)
}

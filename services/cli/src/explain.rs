//! `cedm explain`: why a job waits, ran or was reused; where a sweep stands and what holds it up.

pub mod verdict;

use crate::{
    args::{ExplainArgs, Output},
    client, keys, render,
    sweeps::{Reader, View},
};
use anyhow::{Context, Result};
use cedm_contract::{JobKey, Kind, SweepId, manifest_key};
use cedm_runtime::{Connection, DeadLetters, EventFilter, Submitter, past_events, workers};
use serde_json::json;
use verdict::{Facts, verdict};

/// Explains a job, a sweep, or the kinds of work.
///
/// # Errors
/// When nothing has that name, or the system does not answer.
pub fn run(args: &ExplainArgs, output: Output) -> Result<()> {
    if args.kinds {
        kinds(output);
        return Ok(());
    }
    let what = args.what.as_deref().context("name a job or a sweep")?;
    client::block_on(async {
        let connection = client::connect().await?;
        let mut reader = Reader::new(&connection);
        if let Ok(sweep) = what.parse::<SweepId>()
            && reader.exists(&sweep).await?
        {
            return explain_sweep(&connection, &reader.view(&sweep).await?, output).await;
        }
        let key = keys::find(&connection, what)
            .await
            .with_context(|| format!("`{what}` is neither a sweep nor a job"))?;
        explain_job(&connection, &mut reader, &key, output).await
    })
}

fn kinds(output: Output) {
    if output == Output::Json {
        let rows: Vec<_> = Kind::ALL.iter().map(|kind| json!({"kind": kind, "service": kind.service(), "queued": kind.is_queued(), "algorithm_version": kind.algorithm_version()})).collect();
        crate::say!("{}", serde_json::Value::Array(rows));
        return;
    }
    let mut table = render::table(&["kind", "performed by", "algorithm version"]);
    for kind in Kind::ALL {
        table.add_row([
            kind.token(),
            kind.service().name(),
            &kind.algorithm_version().to_string(),
        ]);
    }
    crate::say!("{table}");
}

async fn facts(
    connection: &Connection,
    reader: &mut Reader,
    key: &JobKey,
) -> Result<(Facts, Vec<(SweepId, String)>)> {
    let filter = EventFilter {
        key: Some(key.clone()),
        ..EventFilter::default()
    };
    let mut facts = Facts {
        events: past_events(connection, &filter).await?,
        ..Facts::default()
    };
    facts.manifest = Submitter::new(connection).manifest(key).await?;
    facts.broken =
        facts.manifest.is_none() && connection.store().size(&manifest_key(key)).await?.is_some();
    facts.letter = DeadLetters::new(connection).show(key).await?;
    let outstanding = Submitter::new(connection).outstanding(None).await?;
    let own = outstanding.iter().find(|job| job.key == *key);
    facts.queued = own.map(|job| job.delayed);
    let mut sweeps = Vec::new();
    for sweep in reader.all().await? {
        let view = reader.view(&sweep).await?;
        if let Some(label) = view.label(key) {
            sweeps.push((sweep, label.to_owned()));
            facts.waits_for = view.waits_for(key);
            facts.kind = facts.kind.or(view.kind(key));
        }
    }
    let told = facts.events.first().map(|event| event.kind);
    facts.kind = facts
        .kind
        .or(told)
        .or(own.map(|job| job.kind))
        .or(facts.manifest.as_ref().map(|manifest| manifest.spec.kind()));
    if let Some(kind) = facts.kind {
        facts.others = outstanding
            .iter()
            .filter(|job| job.kind == kind && job.key != *key)
            .count();
        let alive = workers(connection).await?;
        let of_service: Vec<_> = alive
            .into_iter()
            .filter(|worker| worker.service == kind.service().name())
            .collect();
        (facts.workers, facts.busy) = (
            of_service.len(),
            of_service
                .iter()
                .filter(|worker| worker.job.is_some())
                .count(),
        );
        facts.worker = of_service
            .into_iter()
            .find(|worker| worker.job.as_ref() == Some(key));
    }
    Ok((facts, sweeps))
}

async fn explain_job(
    connection: &Connection,
    reader: &mut Reader,
    key: &JobKey,
    output: Output,
) -> Result<()> {
    let (facts, sweeps) = facts(connection, reader, key).await?;
    let said = verdict(&facts);
    if output == Output::Json {
        let sweeps: Vec<_> = sweeps
            .iter()
            .map(|(sweep, label)| json!({"sweep": sweep, "label": label}))
            .collect();
        crate::say!(
            "{}",
            json!({"key": key, "kind": facts.kind, "verdict": said, "sweeps": sweeps, "waits_for": facts.waits_for, "manifest": facts.manifest,
                "dead_letter": facts.letter, "events": facts.events})
        );
        return Ok(());
    }
    crate::say!("job     {key}");
    for (sweep, label) in &sweeps {
        crate::say!("is      {label}, of sweep {sweep}");
    }
    crate::say!("it      {said}");
    if let Some(manifest) = &facts.manifest {
        for input in &manifest.inputs {
            crate::say!(
                "read    {:<16} {} (digest {})",
                input.role,
                input.key.short(),
                input.digest.short()
            );
        }
        for file in &manifest.outputs {
            crate::say!(
                "wrote   {:<24} {} (digest {})",
                file.name,
                render::bytes(file.object.size),
                file.object.digest.short()
            );
        }
        crate::say!(
            "digest  {}   the same work gives the same key, and its stored objects are checked \
             before they are used again",
            manifest.digest.short()
        );
    }
    for event in &facts.events {
        let attempt = event
            .attempt
            .map_or_else(String::new, |attempt| format!("  attempt {attempt}"));
        let cached = if event.cached { "  reused" } else { "" };
        crate::say!(
            "{:>12} ago  {:<10} {}{attempt}{cached}  {}",
            render::since(event.at_ms),
            event.what.to_string(),
            event.worker,
            event.message.lines().next().unwrap_or_default()
        );
    }
    Ok(())
}

async fn explain_sweep(connection: &Connection, view: &View, output: Output) -> Result<()> {
    let alive = workers(connection).await?;
    let outstanding = Submitter::new(connection).outstanding(None).await?;
    let mine: Vec<_> = outstanding
        .iter()
        .filter(|job| view.knows(&job.key))
        .collect();
    let running: Vec<_> = alive
        .iter()
        .filter(|worker| worker.job.as_ref().is_some_and(|key| view.knows(key)))
        .collect();
    if output == Output::Json {
        let queued: Vec<_> = mine
            .iter()
            .map(|job| json!({"key": job.key, "kind": job.kind, "label": view.label(&job.key), "delayed": job.delayed}))
            .collect();
        crate::say!(
            "{}",
            json!({"sweep": view.sweep.id, "state": view.outcome.state, "jobs": view.outcome.jobs, "running": running, "queued": queued, "missing": view.outcome.missing})
        );
        return Ok(());
    }
    for line in view.last_words() {
        crate::say!("{line}");
    }
    for worker in &running {
        let label = worker
            .job
            .as_ref()
            .and_then(|key| view.label(key))
            .unwrap_or_default();
        crate::say!(
            "runs    {label}: on {} since {}",
            worker.worker,
            render::since(worker.since_ms)
        );
    }
    let in_hand = |key: &JobKey| {
        running
            .iter()
            .any(|worker| worker.job.as_ref() == Some(key))
    };
    let waiting: Vec<_> = mine.iter().filter(|job| !in_hand(&job.key)).collect();
    for kind in Kind::ALL {
        let of_kind: Vec<_> = waiting.iter().filter(|job| job.kind == *kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let service = kind.service();
        let hands = alive
            .iter()
            .filter(|worker| worker.service == service.name())
            .count();
        let delayed = of_kind.iter().filter(|job| job.delayed).count();
        let why = if hands == 0 {
            format!("no {service} is alive")
        } else {
            format!("{hands} {service} processes work them off")
        };
        let delayed = if delayed > 0 {
            format!(", {delayed} of them wait for the time of their next try")
        } else {
            String::new()
        };
        crate::say!("queued  {} {kind} jobs: {why}{delayed}", of_kind.len());
    }
    for missing in view
        .outcome
        .missing
        .iter()
        .filter(|missing| !missing.pending)
    {
        let key = missing
            .key
            .as_ref()
            .map(|key| format!(" ({})", key.short()))
            .unwrap_or_default();
        crate::say!("missing {}{key}: {}", missing.what, missing.reason);
    }
    Ok(())
}

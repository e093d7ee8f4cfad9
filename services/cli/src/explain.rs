//! `cedm explain`: why a job waits, ran or was reused, and what a sweep waits for.

pub mod verdict;

use crate::{
    args::Output,
    client, keys, render,
    sweeps::{Reader, View},
};
use anyhow::{Context, Result};
use cedm_contract::{Event, EventWhat, JobKey, Kind, SCHEMA_VERSION, SweepId, manifest_key};
use cedm_runtime::{
    Connection, DeadLetters, Envelope, EventFilter, Submitter, clock_warning, consumer_name,
    has_consumer, past_events, workers,
};
use cedm_terminal::{outjson, outln};
use clap::Args;
use serde_json::json;
use verdict::{JobStatus, verdict};

/// Options of `cedm explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// A job key (its first digits suffice) or the name of a sweep
    #[arg(required_unless_present = "kinds")]
    pub what: Option<String>,
    /// List the kinds of jobs instead, with the service that performs each
    #[arg(long)]
    pub kinds: bool,
}

/// Explains a job, a sweep, or the kinds of jobs.
///
/// # Errors
/// When no sweep or job has that name, or the system does not answer.
pub fn run(args: &ExplainArgs, output: Output) -> Result<()> {
    if args.kinds {
        print_kinds(output);
        return Ok(());
    }
    let what = args
        .what
        .as_deref()
        .context("expected a job key or the name of a sweep")?;
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

fn print_kinds(output: Output) {
    if output == Output::Json {
        let row = |kind: &Kind| {
            json!({
                "kind": kind,
                "service": kind.service(),
                "queued": kind.is_queued(),
                "algorithm_version": kind.algorithm_version(),
            })
        };
        let rows: Vec<_> = Kind::ALL.iter().map(row).collect();
        outjson!(serde_json::Value::Array(rows));
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
    table.print();
}

/// Collects what store, queue, events and workers say about a job, with the sweeps that contain it.
async fn job_status(
    connection: &Connection,
    reader: &mut Reader,
    key: &JobKey,
) -> Result<(JobStatus, Vec<(SweepId, String)>)> {
    let filter = EventFilter {
        key: Some(key.clone()),
        ..EventFilter::default()
    };
    let mut status = JobStatus {
        events: past_events(connection, &filter).await?,
        ..JobStatus::default()
    };
    status.manifest = Submitter::new(connection).manifest(key).await?;
    status.broken =
        status.manifest.is_none() && connection.store().size(&manifest_key(key)).await?.is_some();
    status.dead_letter = DeadLetters::new(connection).readable(key).await?;
    let outstanding = Submitter::new(connection).outstanding(None).await?;
    let queued = outstanding.iter().find(|job| job.key == *key);
    status.queued = queued.map(|job| job.delayed);
    if let Some(job) = queued {
        if !job.delayed && !has_consumer(connection, job.kind, job.priority).await? {
            status.removed_consumer = Some(consumer_name(job.kind, job.priority));
        }
        let stored = Submitter::new(connection).look_up(job.kind, key).await?;
        status.other_version = stored.and_then(|stored| wanted_version(job.kind, &stored.envelope));
    }
    let mut sweeps = Vec::new();
    for entry in reader.entries().await? {
        let Some(view) = entry.view() else { continue };
        if let Some(label) = view.label(key) {
            sweeps.push((view.sweep.id.clone(), label.to_owned()));
            status.waits_for = view.waits_for(key);
            status.kind = status.kind.or(view.kind(key));
        }
    }
    let from_events = status.events.first().map(|event| event.kind);
    status.kind = status
        .kind
        .or(from_events)
        .or(queued.map(|job| job.kind))
        .or(status
            .manifest
            .as_ref()
            .map(|manifest| manifest.spec.kind()));
    if let Some(kind) = status.kind {
        status.others = outstanding
            .iter()
            .filter(|job| job.kind == kind && job.key != *key)
            .count();
        let alive = workers(connection).await?;
        let of_service: Vec<_> = alive
            .into_iter()
            .filter(|worker| worker.service == kind.service().name())
            .collect();
        (status.workers, status.busy) = (
            of_service.len(),
            of_service
                .iter()
                .filter(|worker| worker.job.is_some())
                .count(),
        );
        status.worker = of_service
            .into_iter()
            .find(|worker| worker.job.as_ref() == Some(key));
    }
    Ok((status, sweeps))
}

/// What a job waits for that workers gave back because they perform another version.
fn wanted_version(kind: Kind, envelope: &Envelope) -> Option<String> {
    let (service, returns) = (kind.service(), envelope.returns);
    if returns == 0 {
        return None;
    }
    let wanted = match envelope.algorithm {
        _ if envelope.schema > SCHEMA_VERSION => format!("of message schema {}", envelope.schema),
        Some(version) => format!("of version {version} of the algorithm `{kind}`"),
        None => "of another version".to_owned(),
    };
    Some(format!(
        "a {service} {wanted}; workers of other versions gave the job back {returns} times"
    ))
}

async fn explain_job(
    connection: &Connection,
    reader: &mut Reader,
    key: &JobKey,
    output: Output,
) -> Result<()> {
    let (status, sweeps) = job_status(connection, reader, key).await?;
    let verdict = verdict(&status);
    if output == Output::Json {
        let sweeps: Vec<_> = sweeps
            .iter()
            .map(|(sweep, label)| json!({"sweep": sweep, "label": label}))
            .collect();
        outjson!(
            json!({"key": key, "kind": status.kind, "verdict": verdict, "sweeps": sweeps, "waits_for": status.waits_for, "manifest": status.manifest,
                "dead_letter": status.dead_letter, "events": status.events})
        );
        return Ok(());
    }
    outln!("job     {key}");
    for (sweep, label) in &sweeps {
        outln!("label   {label}, in sweep {sweep}");
    }
    outln!("state   {verdict}");
    if let Some(worker) = &status.worker
        && let Some(warning) = worker.clock_skew_ms.and_then(clock_warning)
    {
        outln!("clock   {}: {warning}", worker.worker);
    }
    if let Some(manifest) = &status.manifest {
        for input in &manifest.inputs {
            outln!(
                "read    {:<16} {} (digest {})",
                input.role,
                input.key.short(),
                input.digest.short()
            );
        }
        for file in &manifest.outputs {
            outln!(
                "wrote   {:<24} {} (digest {})",
                file.name,
                render::bytes(file.object.size),
                file.object.digest.short()
            );
        }
        outln!(
            "digest  {}   (stored objects are verified before a result is reused)",
            manifest.digest.short()
        );
    }
    for event in milestones(&status.events) {
        let attempt = event
            .attempt
            .map_or_else(String::new, |attempt| format!("  attempt {attempt}"));
        let cached = if event.cached { "  reused" } else { "" };
        let progress = match event.what {
            EventWhat::Progress => format!("{}/{} {}  ", event.done, event.total, event.unit),
            _ => String::new(),
        };
        outln!(
            "{:>12} ago  {:<10} {}{attempt}{cached}  {progress}{}",
            render::since(event.at_ms),
            event.what.to_string(),
            event.worker,
            event.message.lines().next().unwrap_or_default()
        );
    }
    Ok(())
}

/// The events of a job, of its reports of progress the last one of each attempt alone.
fn milestones(events: &[Event]) -> impl Iterator<Item = &Event> {
    let is_progress = |event: &Event| event.what == EventWhat::Progress;
    events.iter().enumerate().filter_map(move |(at, event)| {
        let is_followed = events.get(at + 1).is_some_and(is_progress);
        (!is_progress(event) || !is_followed).then_some(event)
    })
}

async fn explain_sweep(connection: &Connection, view: &View, output: Output) -> Result<()> {
    let alive = workers(connection).await?;
    let outstanding = Submitter::new(connection).outstanding(None).await?;
    let mine: Vec<_> = outstanding
        .iter()
        .filter(|job| view.contains(&job.key))
        .collect();
    let running: Vec<_> = alive
        .iter()
        .filter(|worker| worker.job.as_ref().is_some_and(|key| view.contains(key)))
        .collect();
    if output == Output::Json {
        let queued: Vec<_> = mine
            .iter()
            .map(|job| json!({"key": job.key, "kind": job.kind, "label": view.label(&job.key), "delayed": job.delayed}))
            .collect();
        outjson!(json!({
            "sweep": view.sweep.id,
            "state": view.phase(),
            "jobs": view.outcome.jobs,
            "running": running,
            "queued": queued,
            "missing": view.outcome.missing,
        }));
        return Ok(());
    }
    for line in view.summary_lines() {
        outln!("{line}");
    }
    for worker in &running {
        let label = worker
            .job
            .as_ref()
            .and_then(|key| view.label(key))
            .unwrap_or_default();
        outln!(
            "running {label}: on {} for {}",
            worker.worker,
            render::since(worker.since_ms)
        );
    }
    let is_running = |key: &JobKey| {
        running
            .iter()
            .any(|worker| worker.job.as_ref() == Some(key))
    };
    let waiting: Vec<_> = mine.iter().filter(|job| !is_running(&job.key)).collect();
    for kind in Kind::ALL {
        let of_kind: Vec<_> = waiting.iter().filter(|job| job.kind == *kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let service = kind.service();
        let workers = alive
            .iter()
            .filter(|worker| worker.service == service.name())
            .count();
        let delayed = of_kind.iter().filter(|job| job.delayed).count();
        let why = if workers == 0 {
            format!("no {service} is running")
        } else {
            format!("{workers} {service} processes work on them")
        };
        let delayed = if delayed > 0 {
            format!(", {delayed} of them wait for their next attempt")
        } else {
            String::new()
        };
        outln!("queued  {} {kind} jobs: {why}{delayed}", of_kind.len());
    }
    for cause in view.causes() {
        cause.lines().iter().for_each(|line| outln!("{line}"));
    }
    Ok(())
}

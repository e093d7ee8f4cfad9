//! The end of a sweep: its report, committed like any other result, then `sweep/<id>/done`.

use crate::{artefacts::StoreArtefacts, sweeps};
use anyhow::Context;
use bytes::Bytes;
use cedm_contract::{
    Attempt, Digest, Job, JobResult, Kind, Manifest, ObjectRef, Output, SCHEMA_VERSION, Software,
    Timings,
    kinds::report::{DATA, PAGE, ReportResult},
    output_key, sweep_key,
};
use cedm_planner::{Observed, fold};
use cedm_report::Report;
use cedm_runtime::{
    Committed, REVISION, ServiceProcess, Submitter, VERSION, create_only, now_ms,
    store::{Body, Store},
    worker_name,
};
use cedm_sweep::{Sweep, lifecycle::DONE};
use std::{collections::BTreeMap, sync::Arc, time::Instant};

/// How the end of a sweep went.
pub(crate) enum Ended {
    /// The report was written.
    Written,
    /// It existed, or cannot be written yet.
    Unchanged,
    /// Objects that the report reads are missing or damaged: nothing was written.
    Broken(Vec<ObjectRef>),
}

/// What is stored of a sweep's report.
pub(crate) enum Stored {
    /// Nothing is left to be done.
    Settled,
    /// It is to be written, or, where it exists, to be rendered once more: that is the last look at the
    /// results of a complete sweep.
    Open(Option<Box<Manifest>>),
}

/// Looks whether the report of a settled sweep exists, and whether its results are to be looked at again.
pub(crate) async fn stored(
    process: &ServiceProcess,
    submitter: &Submitter,
    sweep: &Sweep,
    job: &Job,
    complete: bool,
) -> anyhow::Result<Stored> {
    let stored = if complete {
        let afresh = submitter.afresh();
        afresh.manifest_or_discard(Kind::Report, &job.key).await?
    } else {
        submitter.manifest(&job.key).await?.map(Box::new)
    };
    let store = process.connection().store();
    if stored.is_some() && (!complete || sweeps::has_ended(store.as_ref(), &sweep.id).await?) {
        return Ok(Stored::Settled);
    }
    Ok(Stored::Open(stored))
}

/// Writes the report of a settled sweep from its results, unless it is stored, and marks a complete
/// sweep as done. That is the last look at its results: everything that the report reads is verified
/// to the byte, even where the report exists, since what was complete before may have been damaged and
/// reopened.
pub(crate) async fn write(
    (process, submitter): (&ServiceProcess, &Submitter),
    (sweep, job, complete): (&Arc<Sweep>, &Job, bool),
    stored: Option<Manifest>,
    results: Arc<Observed>,
) -> anyhow::Result<Ended> {
    let store = process.connection().store();
    let rendered = render(store, sweep.clone(), results).await?;
    if !rendered.broken.is_empty() {
        return Ok(Ended::Broken(rendered.broken));
    }
    let (manifest, written) = match stored {
        Some(manifest) => (manifest, false),
        None => {
            let manifest = upload(store, sweep, job, rendered).await?;
            match submitter.commit(&manifest).await? {
                Committed::Ours => {
                    submitter.announce_done(&manifest, false).await?;
                    (manifest, true)
                }
                // Another coordinator committed first; it also publishes the event.
                Committed::Theirs(winner) => (*winner, false),
            }
        }
    };
    if let (true, JobResult::Report(result)) = (complete, &manifest.result) {
        mark_done(store.as_ref(), sweep, &manifest, &result.headline).await?;
    }
    if !written {
        return Ok(Ended::Unchanged);
    }
    let outcome = if complete { "complete" } else { "incomplete" };
    tracing::info!(sweep = %sweep.id, report = %manifest.key, outcome, "report written");
    Ok(Ended::Written)
}

/// A report that is not stored yet.
struct Rendered {
    report: Report,
    /// Objects that it should have shown.
    broken: Vec<ObjectRef>,
    started_ms: u64,
    compute_ms: u64,
}

/// Renders the report.
///
/// # Errors
/// When the store does not answer: such a report would lack what is there.
async fn render(
    store: &Arc<dyn Store>,
    sweep: Arc<Sweep>,
    results: Arc<Observed>,
) -> anyhow::Result<Rendered> {
    let (started, started_ms) = (Instant::now(), now_ms());
    let artefacts = StoreArtefacts::new(store.clone());
    let rendering = tokio::task::spawn_blocking(move || {
        let report = cedm_report::render(&fold(&sweep, results.as_ref()), &artefacts);
        (report, artefacts.into_flaws())
    });
    let (report, flaws) = rendering.await.context("render the report")?;
    if let Some(reason) = flaws.outage {
        anyhow::bail!("read what the report shows: {reason}");
    }
    Ok(Rendered {
        report,
        broken: flaws.broken,
        started_ms,
        compute_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Uploads a report's files; returns the manifest, which is not committed yet.
async fn upload(
    store: &Arc<dyn Store>,
    sweep: &Sweep,
    job: &Job,
    rendered: Rendered,
) -> anyhow::Result<Manifest> {
    let Rendered {
        report,
        started_ms,
        compute_ms,
        ..
    } = rendered;
    let attempt = Attempt::new(0, 1);
    let headline = report.headline.clone();
    let files = [
        (PAGE.to_string(), report.html),
        (DATA.to_string(), report.json),
    ];
    let mut outputs = Vec::new();
    for (name, text) in files
        .into_iter()
        .chain(report.csvs.into_iter().map(|csv| (csv.name, csv.text)))
    {
        let object = ObjectRef {
            object: output_key(&job.key, &attempt, &name),
            size: text.len() as u64,
            digest: Digest::of(text.as_bytes()),
        };
        store
            .put(&object.object, Body::Bytes(Bytes::from(text)))
            .await
            .with_context(|| format!("store {name} of sweep {}", sweep.id))?;
        outputs.push(Output {
            name,
            object,
            volatile: false,
        });
    }
    let result = JobResult::Report(ReportResult { headline });
    Ok(Manifest {
        schema: SCHEMA_VERSION,
        key: job.key.clone(),
        attempt,
        spec: job.spec.clone(),
        inputs: job.inputs.clone(),
        digest: Manifest::digest_of(&outputs, &result),
        outputs,
        result,
        metrics: BTreeMap::new(),
        timings: Timings {
            queued_ms: started_ms,
            started_ms,
            finished_ms: now_ms(),
            compute_ms,
        },
        software: Software {
            version: VERSION.to_owned(),
            revision: REVISION.to_owned(),
            worker: worker_name(),
            device: "cpu".to_owned(),
        },
    })
}

async fn mark_done(
    store: &dyn Store,
    sweep: &Sweep,
    report: &Manifest,
    headline: &str,
) -> anyhow::Result<()> {
    let key = sweep_key(&sweep.id, DONE);
    if store.size(&key).await?.is_some() {
        return Ok(());
    }
    let marker = serde_json::json!({"schema": SCHEMA_VERSION, "report": report.key, "headline": headline, "finished_ms": now_ms()});
    // Another coordinator may have written it first: either marker will do.
    create_only(store, &key, marker.to_string().into()).await?;
    tracing::info!(sweep = %sweep.id, headline, "sweep done");
    Ok(())
}

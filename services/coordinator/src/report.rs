//! The end of a sweep: its report, committed like any other result, then `sweep/<id>/done`.

use crate::{artefacts::StoreArtefacts, sweeps};
use anyhow::Context;
use bytes::Bytes;
use cedm_contract::{
    Attempt, Digest, Job, JobResult, Kind, Manifest, ObjectRef, Output, SCHEMA_VERSION, Timings,
    kinds::report::{DATA, PAGE, ReportResult},
    output_key, sweep_key,
};
use cedm_planner::{Observed, Plan, fold};
use cedm_report::Report;
use cedm_runtime::{
    Committed, ComputeDevice, ServiceProcess, Submitter, create_only, now_ms, software,
    store::{Body, Store},
};
use cedm_sweep::{Sweep, lifecycle::done_name, outcome::SweepOutcome};
use std::time::Instant;

/// How the end of a sweep went.
pub(crate) enum ReportOutcome {
    /// The report was written.
    Written,
    /// It existed, or cannot be written yet.
    Unchanged,
    /// Objects that the report reads are missing or damaged: nothing was written.
    Broken(Vec<ObjectRef>),
}

/// Writes the report of a settled sweep unless it exists, and marks a complete sweep as done. That
/// is the last look at its results: everything that the report reads is verified to the byte, even
/// where the report exists, since what was complete before may have been damaged and reopened. The
/// mark is that of `reopenings`, read before the results were looked at: if somebody reopens the
/// sweep meanwhile, it says nothing.
pub(crate) async fn write(
    process: &ServiceProcess,
    submitter: &Submitter,
    sweep: &Sweep,
    known: &mut Observed,
    plan: &Plan,
    reopenings: u32,
) -> anyhow::Result<ReportOutcome> {
    let Some(job) = plan.report().and_then(|node| node.job.clone()) else {
        return Ok(ReportOutcome::Unchanged);
    };
    let store = process.connection().store();
    let stored = if plan.complete() {
        let afresh = submitter.afresh();
        let found = afresh.manifest_or_discard(Kind::Report, &job.key);
        found.await?.map(|manifest| *manifest)
    } else {
        submitter.manifest(&job.key).await?
    };
    if let Some(manifest) = &stored {
        known.record(manifest.clone());
        if !plan.complete() || sweeps::has_ended(store.as_ref(), &sweep.id).await? {
            return Ok(ReportOutcome::Unchanged);
        }
    }
    let rendered = render(store, fold(sweep, known)).await?;
    if !rendered.broken.is_empty() {
        return Ok(ReportOutcome::Broken(rendered.broken));
    }
    let (manifest, written) = match stored {
        Some(manifest) => (manifest, false),
        None => {
            let manifest = upload(store, sweep, &job, rendered).await?;
            match submitter.commit(&manifest).await? {
                Committed::Ours => {
                    submitter.publish_done(&manifest, false).await?;
                    (manifest, true)
                }
                // Another coordinator committed first; it also publishes the event.
                Committed::Theirs(winner) => (*winner, false),
            }
        }
    };
    known.record(manifest.clone());
    if let (true, JobResult::Report(result)) = (plan.complete(), &manifest.result) {
        let mark = done_name(reopenings);
        mark_done(store.as_ref(), sweep, &mark, &manifest, &result.headline).await?;
    }
    if !written {
        return Ok(ReportOutcome::Unchanged);
    }
    let outcome = if plan.complete() {
        "complete"
    } else {
        "incomplete"
    };
    tracing::info!(sweep = %sweep.id, report = %manifest.key, outcome, "report written");
    Ok(ReportOutcome::Written)
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
    store: &std::sync::Arc<dyn Store>,
    outcome: SweepOutcome,
) -> anyhow::Result<Rendered> {
    let (started, started_ms) = (Instant::now(), now_ms());
    let artefacts = StoreArtefacts::new(store.clone());
    let rendering = tokio::task::spawn_blocking(move || {
        let report = cedm_report::render(&outcome, &artefacts);
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
    store: &std::sync::Arc<dyn Store>,
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
        timings: Timings {
            queued_ms: started_ms,
            started_ms,
            finished_ms: now_ms(),
            compute_ms,
        },
        software: software(&ComputeDevice::cpu_only()),
        ..Manifest::of(job.clone(), attempt, outputs, result)
    })
}

async fn mark_done(
    store: &dyn Store,
    sweep: &Sweep,
    mark: &str,
    report: &Manifest,
    headline: &str,
) -> anyhow::Result<()> {
    let key = sweep_key(&sweep.id, mark);
    if store.size(&key).await?.is_some() {
        return Ok(());
    }
    let marker = serde_json::json!({
        "schema": SCHEMA_VERSION,
        "report": report.key,
        "headline": headline,
        "finished_ms": now_ms(),
    });
    // Another coordinator may have written it first: either marker will do.
    create_only(store, &key, marker.to_string().into()).await?;
    tracing::info!(sweep = %sweep.id, mark, headline, "sweep done");
    Ok(())
}

//! The end of a sweep: its report, committed like any other result, then `sweep/<id>/done`.

use crate::artefacts::StoreArtefacts;
use anyhow::Context;
use bytes::Bytes;
use cedm_contract::{
    Attempt, Digest, Job, JobResult, Manifest, ObjectRef, Output, SCHEMA_VERSION, Software,
    Timings,
    kinds::report::{DATA, PAGE, ReportResult},
    output_key, sweep_key,
};
use cedm_planner::{Observed, Plan, State, fold};
use cedm_report::Report;
use cedm_runtime::{
    Committed, REVISION, ServiceProcess, Submitter, VERSION, create_only, now_ms,
    store::{Body, Store},
    worker_name,
};
use cedm_sweep::{Sweep, outcome::SweepOutcome};
use std::{collections::BTreeMap, time::Instant};
use tokio::runtime::Handle;

/// Writes the report of a settled sweep unless it exists, and marks a complete sweep as done.
/// Returns whether a report was written.
pub(crate) async fn write(
    process: &ServiceProcess,
    submitter: &Submitter,
    sweep: &Sweep,
    known: &mut Observed,
    plan: &Plan,
) -> anyhow::Result<bool> {
    let Some(node) = plan.report() else {
        return Ok(false);
    };
    let Some(job) = node.job.clone() else {
        return Ok(false);
    };
    let store = process.connection().store();
    let (manifest, written) = match (&node.state, submitter.manifest(&job.key).await?) {
        (State::Done { .. }, Some(manifest)) => (manifest, false),
        (_, Some(manifest)) => {
            known.record(manifest.clone());
            (manifest, false)
        }
        (_, None) => {
            let manifest = render(store, sweep, fold(sweep, known), &job).await?;
            match submitter.commit(&manifest).await? {
                Committed::Ours => {
                    submitter.announce_done(&manifest, false).await?;
                    known.record(manifest.clone());
                    (manifest, true)
                }
                // Another coordinator committed first; it also publishes the event.
                Committed::Theirs(winner) => {
                    known.record((*winner).clone());
                    (*winner, false)
                }
            }
        }
    };
    if let (true, JobResult::Report(result)) = (plan.complete(), &manifest.result) {
        mark_done(store.as_ref(), sweep, &manifest, &result.headline).await?;
    }
    if written {
        let outcome = if plan.complete() {
            "complete"
        } else {
            "incomplete"
        };
        tracing::info!(sweep = %sweep.id, report = %manifest.key, outcome, "report written");
    }
    Ok(written)
}

/// Renders the report and uploads its files; returns the manifest, which is not committed yet.
async fn render(
    store: &std::sync::Arc<dyn Store>,
    sweep: &Sweep,
    outcome: SweepOutcome,
    job: &Job,
) -> anyhow::Result<Manifest> {
    let (started, started_ms) = (Instant::now(), now_ms());
    let artefacts = StoreArtefacts {
        store: store.clone(),
        handle: Handle::current(),
    };
    let report: Report =
        tokio::task::spawn_blocking(move || cedm_report::render(&outcome, &artefacts))
            .await
            .context("render the report")?;
    let compute_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
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
    let key = sweep_key(&sweep.id, "done");
    if store.size(&key).await?.is_some() {
        return Ok(());
    }
    let marker = serde_json::json!({"schema": SCHEMA_VERSION, "report": report.key, "headline": headline, "finished_ms": now_ms()});
    // Another coordinator may have written it first: either marker will do.
    create_only(store, &key, marker.to_string().into()).await?;
    tracing::info!(sweep = %sweep.id, headline, "sweep done");
    Ok(())
}

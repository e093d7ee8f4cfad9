//! `cedm fsck`: verify everything that is stored against the invariants of the protocol, with the
//! same audit that the protocol's simulation runs.

use crate::{args::Output, client, render, sweeps::Reader};
use anyhow::Result;
use cedm_contract::JobKey;
use cedm_runtime::{
    Claims, Connection, DeadLetters, EventFilter, Findings, Submitter, audit, past_events,
};
use cedm_terminal::{outjson, outln};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;

/// Options of `cedm fsck`.
#[derive(Args, Debug)]
pub struct FsckArgs {
    /// Verify only the results that this sweep uses
    #[arg(long)]
    pub sweep: Option<String>,
}

/// Verifies the store; the exit code is a failure when something is broken.
///
/// # Errors
/// When the store or NATS fails.
pub fn run(args: &FsckArgs, output: Output) -> Result<ExitCode> {
    client::block_on(async {
        let connection = client::connect().await?;
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} manifests  {eta} left")
            .expect("invariant: the template is valid");
        let bar = ProgressBar::new(0).with_style(style);
        let progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let findings = match &args.sweep {
            Some(sweep) => {
                let keys = Reader::new(&connection).view(&sweep.parse()?).await?.done();
                audit(
                    connection.store(),
                    Some(&keys),
                    &Claims::default(),
                    progress,
                )
                .await?
            }
            None => {
                audit(
                    connection.store(),
                    None,
                    &claims(&connection).await?,
                    progress,
                )
                .await?
            }
        };
        bar.finish_and_clear();
        print(&findings, output);
        Ok(if findings.violations.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}

/// What the events say is done, and which jobs need not be: those queued again or dead.
async fn claims(connection: &Connection) -> Result<Claims> {
    let mut claims = Claims::of_events(&past_events(connection, &EventFilter::default()).await?);
    let outstanding = Submitter::new(connection).outstanding(None).await?;
    let letters = DeadLetters::new(connection).list().await?;
    let queued = outstanding.into_iter().map(|job| job.key);
    claims.open = queued
        .chain(letters.into_iter().map(|letter| letter.key))
        .collect::<std::collections::BTreeSet<JobKey>>();
    Ok(claims)
}

fn print(findings: &Findings, output: Output) {
    let broken = &findings.violations;
    if output == Output::Json {
        let rows = serde_json::json!({"manifests": findings.manifests, "objects": findings.sound.objects, "bytes": findings.sound.bytes,
            "broken": broken, "newer": findings.newer, "strange": findings.strange, "unclaimed": findings.unclaimed});
        outjson!(rows);
        return;
    }
    for violation in broken {
        outln!("broken {}: {}", violation.key.short(), violation.reason);
    }
    outln!(
        "{} manifests with {} objects ({}): {} broken",
        render::count(findings.manifests),
        render::count(findings.sound.objects),
        render::bytes(findings.sound.bytes),
        broken.len()
    );
    if findings.unclaimed.objects > 0 {
        outln!(
            "{} objects ({}) belong to no result: their attempts are still running, were superseded or \
             were given up",
            render::count(findings.unclaimed.objects),
            render::bytes(findings.unclaimed.bytes)
        );
    }
    for name in &findings.strange {
        outln!("{name:?} is named like no result: nothing reads it, and it may be deleted");
    }
    if !findings.newer.is_empty() {
        outln!(
            "{} manifests were written by a newer program and were not checked",
            findings.newer.len()
        );
    }
    if !broken.is_empty() {
        outln!(
            "submit the sweeps that need them again: broken results are then discarded and recomputed"
        );
    }
}

//! `cedm fsck`: the invariants of the protocol, checked over everything that is stored: the same
//! audit that the simulation runs.

use crate::{
    args::{FsckArgs, Output},
    client, render,
    sweeps::Reader,
};
use anyhow::Result;
use cedm_contract::JobKey;
use cedm_runtime::{
    Claims, Connection, DeadLetters, EventFilter, Findings, Submitter, audit, past_events,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;

/// Checks; a failure for the shell when something is broken.
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

/// What the events call done, and what need not be: jobs that are queued again or dead.
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
            "broken": broken, "newer": findings.newer, "unclaimed": findings.unclaimed});
        crate::say!("{rows}");
        return;
    }
    for violation in broken {
        crate::say!("broken {}: {}", violation.key.short(), violation.reason);
    }
    crate::say!(
        "{} manifests with {} objects ({}): {} broken",
        render::count(findings.manifests),
        render::count(findings.sound.objects),
        render::bytes(findings.sound.bytes),
        broken.len()
    );
    if findings.unclaimed.objects > 0 {
        crate::say!(
            "{} objects ({}) belong to no result: attempts that are under way, were superseded or \
             given up",
            render::count(findings.unclaimed.objects),
            render::bytes(findings.unclaimed.bytes)
        );
    }
    if !findings.newer.is_empty() {
        crate::say!(
            "{} manifests are of a newer program and were not judged",
            findings.newer.len()
        );
    }
    if !broken.is_empty() {
        crate::say!(
            "submit the sweeps that need them again: what is broken is discarded then, and made again"
        );
    }
}

//! Processes killed at every step of the protocol: the sweep completes with the digests of an
//! undisturbed run.

use anyhow::{Context, Result, ensure};
use cedm_runtime::commits;
use cedm_tests::{StartOptions, System, digits, events::Watch, failpoint::Failpoint};
use nix::sys::signal::Signal;
use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(300);

/// Digests of an undisturbed run, computed once for all tests of this file.
fn undisturbed() -> &'static BTreeMap<String, String> {
    static DIGESTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    DIGESTS.get_or_init(|| {
        digits::undisturbed("tiny", digits::TINY, TIMEOUT)
            .expect("invariant: nothing disturbs this run")
    })
}

/// Kills the first process of a service that reaches a failpoint, and lets the sweep complete: the
/// job that the process was running is redelivered, and all results are those of an undisturbed
/// run.
fn survives_the_kill_at(place: &str) -> Result<()> {
    let failpoint = Failpoint::at(place)?;
    // These jobs are shorter than the usual checkpoint interval; 0 makes one due at every step.
    let checkpoint_every_s = if place.ends_with("checkpoint") {
        "0"
    } else {
        "60"
    };
    let system = System::start_as(StartOptions {
        environment: &[
            ("CEDM_FAILPOINT", &failpoint.variable()),
            ("CEDM_CHECKPOINT_EVERY_S", checkpoint_every_s),
        ],
        ..StartOptions::default()
    })?;
    digits::submit(&system, "tiny", digits::TINY)?;
    failpoint.signal(Signal::SIGKILL, TIMEOUT)?;
    ensure!(
        Watch::on(&system, "tiny")?.end(TIMEOUT)?,
        "the sweep did not complete after a kill at {place}"
    );
    assert_eq!(&system.digests("tiny")?, undisturbed(), "{place}");
    if !place.starts_with("coordinator/") {
        // Where the result was committed before the kill, the redelivery comes after the end of the
        // sweep: the broker waits for an acknowledgement until `ack_wait`.
        let is_second_delivery = |event: &serde_json::Value| {
            event["attempt"]
                .as_str()
                .and_then(|attempt| attempt.split('-').nth(1))
                == Some("2")
        };
        Watch::all_sweeps(&system)?
            .until(
                "a second delivery of the interrupted job",
                TIMEOUT,
                is_second_delivery,
            )
            .with_context(|| format!("the kill at {place} interrupted no job"))?;
    }
    let events = system.events()?;
    for (key, attempts) in commits(&events) {
        assert_eq!(attempts.len(), 1, "{key} was committed by {attempts:?}");
    }
    assert_eq!(
        system.run_json(&["fsck"])?["broken"],
        serde_json::json!([]),
        "{place}"
    );
    Ok(())
}

#[test]
fn killing_an_extractor_after_its_upload() -> Result<()> {
    survives_the_kill_at("extractor/after-upload")
}

#[test]
fn killing_a_clusterer_during_a_checkpoint() -> Result<()> {
    survives_the_kill_at("clusterer/inside-checkpoint")
}

#[test]
fn killing_bounds_before_its_commit() -> Result<()> {
    survives_the_kill_at("bounds/before-manifest")
}

#[test]
fn killing_a_trainer_before_its_commit() -> Result<()> {
    survives_the_kill_at("trainer/before-manifest")
}

#[test]
fn killing_a_sampler_after_its_commit() -> Result<()> {
    survives_the_kill_at("sampler/after-manifest")
}

#[test]
fn killing_an_evaluator_before_its_acknowledgement() -> Result<()> {
    survives_the_kill_at("evaluator/after-event")
}

#[test]
fn killing_the_coordinator_during_a_submission() -> Result<()> {
    survives_the_kill_at("coordinator/after-publish")
}

#[test]
fn killing_the_coordinator_between_report_and_done_marker() -> Result<()> {
    survives_the_kill_at("coordinator/after-commit")
}

/// Kills a child while a network is training, then lets the sweep complete.
fn survives_a_kill_during_training(child: &str) -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "tiny", digits::TINY)?;
    let mut watch = Watch::on(&system, "tiny")?;
    watch.until("training", TIMEOUT, |event| {
        event["what"] == "started" && event["kind"] == "train"
    })?;
    system.signal(child, Signal::SIGKILL)?;
    ensure!(
        watch.end(TIMEOUT)?,
        "the sweep did not complete after {child} was killed"
    );
    assert_eq!(&system.digests("tiny")?, undisturbed());
    Ok(())
}

#[test]
fn killing_nats_during_training() -> Result<()> {
    survives_a_kill_during_training("nats")
}

#[test]
fn killing_the_store_during_training() -> Result<()> {
    survives_a_kill_during_training("store")
}

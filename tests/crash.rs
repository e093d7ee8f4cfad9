//! Whatever is killed, in the middle of whatever: the sweep ends with the digests of the run that
//! nobody disturbed.

use anyhow::{Context, Result, ensure};
use cedm_runtime::commits;
use cedm_tests::{Start, System, digits, events::Watch, failpoint::Held};
use nix::sys::signal::Signal;
use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

const PATIENCE: Duration = Duration::from_secs(300);

/// What the undisturbed run makes; computed once for all tests of this file.
fn undisturbed() -> &'static BTreeMap<String, String> {
    static DIGESTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    DIGESTS.get_or_init(|| {
        let run = || -> Result<_> {
            let system = System::start()?;
            digits::submit(&system, "tiny", digits::TINY)?;
            ensure!(
                Watch::on(&system, "tiny")?.end(PATIENCE)?,
                "the undisturbed run did not complete"
            );
            system.digests("tiny")
        };
        run().expect("invariant: nothing disturbs this run")
    })
}

/// Kills the first process of a service that comes to a place in the protocol, and lets the sweep
/// end: the job that it had in hand was delivered again, and everything is as if nothing had
/// happened.
fn survives_the_kill_at(place: &str) -> Result<()> {
    let held = Held::at(place)?;
    // These jobs are done before a checkpoint is due, unless one is due all the time.
    let checkpoint_every_s = if place.ends_with("checkpoint") {
        "0"
    } else {
        "60"
    };
    let system = System::start_as(Start {
        environment: &[
            ("CEDM_FAILPOINT", &held.variable()),
            ("CEDM_CHECKPOINT_EVERY_S", checkpoint_every_s),
        ],
        ..Start::default()
    })?;
    digits::submit(&system, "tiny", digits::TINY)?;
    held.signal(Signal::SIGKILL, PATIENCE)?;
    ensure!(
        Watch::on(&system, "tiny")?.end(PATIENCE)?,
        "the sweep did not complete after a kill at {place}"
    );
    assert_eq!(&system.digests("tiny")?, undisturbed(), "{place}");
    if !place.starts_with("coordinator/") {
        // After the end of the sweep, where its result was there before the kill: the broker waits
        // for an answer until `ack_wait`.
        let second = |event: &serde_json::Value| {
            event["attempt"]
                .as_str()
                .and_then(|attempt| attempt.split('-').nth(1))
                == Some("2")
        };
        Watch::everything(&system)?
            .until("a second delivery of what was in hand", PATIENCE, second)
            .with_context(|| format!("the kill at {place} hit nothing"))?;
    }
    let events = system.events()?;
    for (key, attempts) in commits(&events) {
        assert_eq!(attempts.len(), 1, "{key} was committed by {attempts:?}");
    }
    assert_eq!(
        system.ask(&["fsck"])?["broken"],
        serde_json::json!([]),
        "{place}"
    );
    Ok(())
}

#[test]
fn extractor_with_objects_uploaded() -> Result<()> {
    survives_the_kill_at("extractor/after-upload")
}

#[test]
fn clusterer_with_half_a_checkpoint() -> Result<()> {
    survives_the_kill_at("clusterer/inside-checkpoint")
}

#[test]
fn bounds_before_its_commit() -> Result<()> {
    survives_the_kill_at("bounds/before-manifest")
}

#[test]
fn trainer_before_its_commit() -> Result<()> {
    survives_the_kill_at("trainer/before-manifest")
}

#[test]
fn sampler_after_its_commit() -> Result<()> {
    survives_the_kill_at("sampler/after-manifest")
}

#[test]
fn evaluator_before_its_acknowledgement() -> Result<()> {
    survives_the_kill_at("evaluator/after-event")
}

#[test]
fn coordinator_in_the_middle_of_submitting() -> Result<()> {
    survives_the_kill_at("coordinator/after-publish")
}

#[test]
fn coordinator_with_a_report_and_no_end() -> Result<()> {
    survives_the_kill_at("coordinator/after-commit")
}

/// Kills a child while a network is trained, then lets the sweep end.
fn survives_in_mid_training(child: &str) -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "tiny", digits::TINY)?;
    let mut watch = Watch::on(&system, "tiny")?;
    watch.until("training", PATIENCE, |event| {
        event["what"] == "started" && event["kind"] == "train"
    })?;
    system.signal(child, Signal::SIGKILL)?;
    ensure!(
        watch.end(PATIENCE)?,
        "the sweep did not complete after {child} was killed"
    );
    assert_eq!(&system.digests("tiny")?, undisturbed());
    Ok(())
}

#[test]
fn nats() -> Result<()> {
    survives_in_mid_training("nats")
}

#[test]
fn store() -> Result<()> {
    survives_in_mid_training("store")
}

//! Interrupted training continues in another process and gives the same bits as uninterrupted
//! training.

use anyhow::{Context, Result, ensure};
use cedm_contract::{Event, EventWhat, Kind};
use cedm_tests::{StartOptions, System, digits, events::Watch, failpoint::Failpoint};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(300);

/// Digests of a run without interruption, computed once for all tests of this file.
fn undisturbed() -> &'static BTreeMap<String, String> {
    static DIGESTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    DIGESTS.get_or_init(|| {
        digits::undisturbed("long", digits::LONG, TIMEOUT)
            .expect("invariant: nothing disturbs this run")
    })
}

fn is_training(event: &Value) -> bool {
    event["kind"] == "train" && event["what"] == "progress" && event["done"].as_u64() > Some(0)
}

/// Submits the sweep and waits for progress of its training; returns the progress event.
fn start_training(system: &System) -> Result<(Watch, Value)> {
    digits::submit(system, "long", digits::LONG)?;
    let mut watch = Watch::on(system, "long")?;
    let event = watch.until("progress of the training", TIMEOUT, is_training)?;
    Ok((watch, event))
}

/// A system whose first trainer to reach a failpoint at a checkpoint waits there.
fn stop_at_checkpoint(place: &str, options: &[&str]) -> Result<(Failpoint, System)> {
    let failpoint = Failpoint::at(place)?;
    let system = System::start_as(StartOptions {
        options,
        environment: &[
            ("CEDM_FAILPOINT", &failpoint.variable()),
            ("CEDM_CHECKPOINT_EVERY_S", "0.2"),
        ],
        home: None,
    })?;
    digits::submit(&system, "long", digits::LONG)?;
    failpoint.process(TIMEOUT)?;
    Ok((failpoint, system))
}

/// The sweep completes, with the digests of the run without interruption.
fn ends_as_undisturbed(system: &System) -> Result<()> {
    ensure!(
        Watch::on(system, "long")?.end(TIMEOUT)?,
        "the sweep did not complete"
    );
    assert_eq!(&system.digests("long")?, undisturbed());
    Ok(())
}

/// Started attempts of the training job, in the order of their deliveries.
fn attempts(system: &System) -> Result<Vec<Event>> {
    let mut events = system.events()?;
    events.retain(|event| event.kind == Kind::Train && event.what == EventWhat::Started);
    Ok(events)
}

#[test]
fn sigterm_writes_a_checkpoint_from_which_another_process_continues() -> Result<()> {
    let (failpoint, system) =
        stop_at_checkpoint("trainer/after-checkpoint", &["--workers", "trainer=2"])?;
    failpoint.signal(Signal::SIGTERM, TIMEOUT)?;
    failpoint.release()?;
    ends_as_undisturbed(&system)?;
    let attempts = attempts(&system)?;
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_ne!(attempts[0].worker, attempts[1].worker);
    assert!(
        resumed_from(&system, "trainer")? > 0,
        "training started over"
    );
    let says_its_loss =
        |event: &Event| event.what == EventWhat::Progress && event.message.contains("loss ");
    assert!(
        system.events()?.iter().any(says_its_loss),
        "no event of progress shows the loss"
    );
    Ok(())
}

#[test]
fn a_killed_trainer_continues_from_its_last_checkpoint() -> Result<()> {
    let (failpoint, system) = stop_at_checkpoint("trainer/after-checkpoint", &[])?;
    failpoint.signal(Signal::SIGKILL, TIMEOUT)?;
    ends_as_undisturbed(&system)?;
    assert!(
        resumed_from(&system, "trainer")? > 0,
        "training started over"
    );
    Ok(())
}

/// A checkpoint that is written only in part is ignored.
#[test]
fn a_trainer_killed_during_its_first_checkpoint_starts_over() -> Result<()> {
    let (failpoint, system) = stop_at_checkpoint("trainer/inside-checkpoint", &[])?;
    failpoint.signal(Signal::SIGKILL, TIMEOUT)?;
    ends_as_undisturbed(&system)?;
    assert!(
        resumed_from(&system, "trainer").is_err(),
        "it resumed from a partial checkpoint"
    );
    Ok(())
}

/// The step from which a service resumed, according to its log.
fn resumed_from(system: &System, service: &str) -> Result<u64> {
    for entry in std::fs::read_dir(system.home().join("logs")).context("list the logs")? {
        let path = entry?.path();
        if !path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(service))
        {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        if let Some(line) = text
            .lines()
            .find(|line| line.contains("resuming from a checkpoint"))
        {
            let line: Value =
                serde_json::from_str(line).with_context(|| format!("log line {line}"))?;
            return line["step"]
                .as_u64()
                .with_context(|| format!("no step in {line}"));
        }
    }
    anyhow::bail!("no {service} resumed from a checkpoint")
}

#[test]
fn a_stopped_system_continues_from_its_checkpoint() -> Result<()> {
    let system = System::start()?;
    let (watch, seen) = start_training(&system)?;
    drop(watch);
    let home = system.stop()?;
    let system = System::start_as(StartOptions {
        home: Some(home),
        ..StartOptions::default()
    })?;
    let mut watch = Watch::on(&system, "long")?;
    let resumed = watch.until("the first progress after the restart", TIMEOUT, |event| {
        is_training(event) && event["attempt"] != seen["attempt"]
    })?;
    assert!(
        resumed["done"].as_u64() >= seen["done"].as_u64(),
        "training started over: {} after {}",
        resumed["done"],
        seen["done"]
    );
    ensure!(watch.end(TIMEOUT)?, "the sweep did not complete");
    assert_eq!(&system.digests("long")?, undisturbed());
    Ok(())
}

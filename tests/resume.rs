//! Training that is interrupted goes on in another process, to the very bits of training that was
//! not.

use anyhow::{Context, Result, ensure};
use cedm_contract::{Event, EventWhat, Kind};
use cedm_tests::{Start, System, digits, events::Watch, failpoint::Held};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

const PATIENCE: Duration = Duration::from_secs(300);

fn undisturbed() -> &'static BTreeMap<String, String> {
    static DIGESTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    DIGESTS.get_or_init(|| {
        let run = || -> Result<_> {
            let system = System::start()?;
            digits::submit(&system, "long", digits::LONG)?;
            ensure!(
                Watch::on(&system, "long")?.end(PATIENCE)?,
                "the undisturbed run did not complete"
            );
            system.digests("long")
        };
        run().expect("invariant: nothing disturbs this run")
    })
}

fn is_training(event: &Value) -> bool {
    event["kind"] == "train" && event["what"] == "progress" && event["done"].as_u64() > Some(0)
}

/// A watch on a sweep whose network has begun to learn, and how far it is.
fn in_mid_training(system: &System) -> Result<(Watch, Value)> {
    digits::submit(system, "long", digits::LONG)?;
    let mut watch = Watch::on(system, "long")?;
    let event = watch.until("progress of the training", PATIENCE, is_training)?;
    Ok((watch, event))
}

/// A system in which the first trainer that has stored a checkpoint is held.
fn held_at_a_checkpoint(place: &str, options: &[&str]) -> Result<(Held, System)> {
    let held = Held::at(place)?;
    let system = System::start_as(Start {
        options,
        environment: &[
            ("CEDM_FAILPOINT", &held.variable()),
            ("CEDM_CHECKPOINT_EVERY_S", "0.2"),
        ],
        home: None,
    })?;
    digits::submit(&system, "long", digits::LONG)?;
    held.process(PATIENCE)?;
    Ok((held, system))
}

/// Attempts at the training, in the order of their deliveries.
fn attempts(system: &System) -> Result<Vec<Event>> {
    let mut events = system.events()?;
    events.retain(|event| event.kind == Kind::Train && event.what == EventWhat::Started);
    Ok(events)
}

#[test]
fn sigterm_leaves_a_checkpoint_from_which_another_process_goes_on() -> Result<()> {
    let (held, system) =
        held_at_a_checkpoint("trainer/after-checkpoint", &["--workers", "trainer=2"])?;
    held.signal(Signal::SIGTERM, PATIENCE)?;
    held.release()?;
    ensure!(
        Watch::on(&system, "long")?.end(PATIENCE)?,
        "the sweep did not complete"
    );
    assert_eq!(&system.digests("long")?, undisturbed());
    let attempts = attempts(&system)?;
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_ne!(attempts[0].worker, attempts[1].worker);
    assert!(resumed_from(&system, "trainer")? > 0, "it began anew");
    Ok(())
}

#[test]
fn a_killed_trainer_goes_on_from_its_last_checkpoint() -> Result<()> {
    let (held, system) = held_at_a_checkpoint("trainer/after-checkpoint", &[])?;
    held.signal(Signal::SIGKILL, PATIENCE)?;
    ensure!(
        Watch::on(&system, "long")?.end(PATIENCE)?,
        "the sweep did not complete"
    );
    assert_eq!(&system.digests("long")?, undisturbed());
    assert!(resumed_from(&system, "trainer")? > 0, "it began anew");
    Ok(())
}

/// Half a checkpoint does not count.
#[test]
fn a_trainer_killed_inside_its_first_checkpoint_begins_anew() -> Result<()> {
    let (held, system) = held_at_a_checkpoint("trainer/inside-checkpoint", &[])?;
    held.signal(Signal::SIGKILL, PATIENCE)?;
    ensure!(
        Watch::on(&system, "long")?.end(PATIENCE)?,
        "the sweep did not complete"
    );
    assert_eq!(&system.digests("long")?, undisturbed());
    assert!(
        resumed_from(&system, "trainer").is_err(),
        "it resumed from half a checkpoint"
    );
    Ok(())
}

/// The step from which a service resumed, as its log says.
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
fn a_system_that_is_stopped_goes_on_where_it_was() -> Result<()> {
    let system = System::start()?;
    let (watch, seen) = in_mid_training(&system)?;
    drop(watch);
    let home = system.stop()?;
    let system = System::start_as(Start {
        home: Some(home),
        ..Start::default()
    })?;
    let mut watch = Watch::on(&system, "long")?;
    let resumed = watch.until("the first progress after the restart", PATIENCE, |event| {
        is_training(event) && event["attempt"] != seen["attempt"]
    })?;
    assert!(
        resumed["done"].as_u64() >= seen["done"].as_u64(),
        "it began anew: {} after {}",
        resumed["done"],
        seen["done"]
    );
    ensure!(watch.end(PATIENCE)?, "the sweep did not complete");
    assert_eq!(&system.digests("long")?, undisturbed());
    Ok(())
}

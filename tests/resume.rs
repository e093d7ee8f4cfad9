//! Training that is interrupted goes on in another process, to the very bits of training that was not.

use anyhow::{Context, Result, ensure};
use cedm_tests::{Start, System, digits, events::Watch};
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
            ensure!(Watch::on(&system, "long")?.end(PATIENCE)?, "the undisturbed run did not complete");
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

#[test]
fn sigterm_leaves_a_checkpoint_from_which_another_process_goes_on() -> Result<()> {
    let system = System::start_with(&["--workers", "trainer=2"])?;
    let (mut watch, seen) = in_mid_training(&system)?;
    let worker = holder(&system, &seen)?;
    system.signal(&worker, Signal::SIGTERM)?;
    let resumed = watch.until("the first progress of another process", PATIENCE, |event| {
        is_training(event) && event["attempt"] != seen["attempt"]
    })?;
    assert_ne!(resumed["worker"], seen["worker"]);
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

#[test]
fn a_killed_trainer_goes_on_from_its_last_checkpoint() -> Result<()> {
    let system = System::start_as(Start {
        environment: &[("CEDM_CHECKPOINT_EVERY_S", "1")],
        ..Start::default()
    })?;
    let (mut watch, first) = in_mid_training(&system)?;
    let seen = watch.until("a later progress", PATIENCE, |event| {
        is_training(event) && event["at_ms"].as_u64() > first["at_ms"].as_u64().map(|at| at + 2_000)
    })?;
    system.signal("trainer-1", Signal::SIGKILL)?;
    let resumed = watch.until("the first progress of the next attempt", PATIENCE, |event| {
        is_training(event) && event["attempt"] != seen["attempt"]
    })?;
    assert!(resumed["done"].as_u64() > Some(0), "it began anew");
    ensure!(watch.end(PATIENCE)?, "the sweep did not complete");
    assert_eq!(&system.digests("long")?, undisturbed());
    Ok(())
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

/// The child that has the job of this event in hand.
fn holder(system: &System, event: &Value) -> Result<String> {
    let status = system.ask(&["status"])?;
    let workers = status["workers"].as_array().context("no workers")?;
    let worker = workers
        .iter()
        .find(|worker| worker["worker"] == event["worker"])
        .context("the worker of the event is gone")?;
    let pid = worker["pid"].as_i64().context("a worker without a process id")?;
    ["trainer-1", "trainer-2"]
        .iter()
        .find(|name| system.pid(name).is_ok_and(|own| i64::from(own) == pid))
        .map(|name| (*name).to_owned())
        .context("no child has its process id")
}

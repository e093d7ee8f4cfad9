//! Two coordinators, one of them late: what it found complete was damaged and reopened since, and
//! its mark must not end the sweep as it is now.

use anyhow::{Context, Result, ensure};
use cedm_contract::Kind;
use cedm_tests::{StartOptions, System, digits, events::Watch, failpoint::Failpoint, wait_until};
use nix::sys::signal::Signal;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(300);

fn state(system: &System) -> Result<String> {
    let state = system.run_json(&["status", "small"])?["state"].clone();
    Ok(state.as_str().context("no state")?.to_owned())
}

/// Deletes the features of the images, as a disk or a person would.
fn lose_features(system: &System) -> Result<()> {
    let features = system.manifests(Kind::Features)?;
    let features = features.first().context("no features")?;
    let object = &features.outputs[0].object.object;
    system.with_connection(async |connection| Ok(connection.store().delete(object).await?))
}

#[test]
fn a_late_mark_of_the_end_does_not_end_a_reopened_sweep() -> Result<()> {
    // The first coordinator that has committed the report is held before its mark.
    let failpoint = Failpoint::at("coordinator/after-commit")?;
    let system = System::start_as(StartOptions {
        options: &["--workers", "coordinator=2"],
        environment: &[("CEDM_FAILPOINT", &failpoint.variable())],
        home: None,
    })?;
    digits::submit(&system, "small", digits::SMALL)?;
    let late = failpoint.process(TIMEOUT)?;
    ensure!(Watch::on(&system, "small")?.end(TIMEOUT)?, "not complete");
    let expected = system.digests("small")?;

    // Damaged and reopened, while nobody can make what is lost again.
    system.signal("extractor-1", Signal::SIGSTOP)?;
    lose_features(&system)?;
    ensure!(state(&system)? == "damaged");
    let answer = digits::submit(&system, "small", digits::SMALL)?;
    ensure!(answer["reopened"] == true, "{answer}");
    ensure!(state(&system)? == "running");

    failpoint.release()?;
    wait_until("the mark of the late coordinator", TIMEOUT, || {
        system.with_connection(async |connection| {
            Ok(connection.store().size("sweep/small/done").await?.is_some())
        })
    })?;
    ensure!(state(&system)? == "running", "{}", state(&system)?);
    system.signal("extractor-1", Signal::SIGCONT)?;
    ensure!(Watch::on(&system, "small")?.end(TIMEOUT)?, "not complete");
    ensure!(state(&system)? == "complete");
    assert_eq!(system.digests("small")?, expected);
    // Neither of them was restarted: it was the late one's own mark.
    let alive = [system.pid("coordinator-1")?, system.pid("coordinator-2")?];
    ensure!(alive.contains(&late.as_raw()), "{alive:?}");
    Ok(())
}

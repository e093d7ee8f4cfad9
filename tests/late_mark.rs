//! Two coordinators, one of them late: what it found complete was damaged and reopened since, and
//! its mark must not end the sweep as it is now.

use anyhow::{Context, Result, ensure};
use cedm_contract::{Kind, Manifest};
use cedm_tests::{StartOptions, System, digits, events::Watch, failpoint::Failpoint};
use nix::sys::signal::Signal;
use std::{
    thread,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(300);

/// A sweep of seconds: one small k-means clustering, one network, one set of samples.
const SMALL: &str = r#"
[images]
set = "digits"

[extractor]
name = "pca"
dim = 4

[[clustering]]
method = "kmeans"
clusters = [4]

[training]
preset = "tiny8"
budget_kimg = 0.256

[sampling]
sets = 1
images = 16
shard_size = 16

[evaluation]
extractor = "pixels"
metrics = ["fd"]
"#;

fn state(system: &System) -> Result<String> {
    let state = system.run_json(&["status", "small"])?["state"].clone();
    Ok(state.as_str().context("no state")?.to_owned())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + TIMEOUT;
    while !holds()? {
        ensure!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(100)); // objects of the store can only be polled
    }
    Ok(())
}

/// Deletes the features of the images, as a disk or a person would.
fn lose_features(system: &System) -> Result<()> {
    system.with_connection(async |connection| {
        let store = connection.store();
        for listed in store.list("manifest/").await? {
            let bytes = store.get(&listed.key).await?.context("a listed manifest")?;
            let manifest = Manifest::decode(&bytes)?;
            if manifest.kind() == Kind::Features {
                return Ok(store.delete(&manifest.outputs[0].object.object).await?);
            }
        }
        anyhow::bail!("no features")
    })
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
    digits::submit(&system, "small", SMALL)?;
    let late = failpoint.process(TIMEOUT)?;
    ensure!(Watch::on(&system, "small")?.end(TIMEOUT)?, "not complete");
    let expected = system.digests("small")?;

    // Damaged and reopened, while nobody can make what is lost again.
    system.signal("extractor-1", Signal::SIGSTOP)?;
    lose_features(&system)?;
    ensure!(state(&system)? == "damaged");
    let answer = digits::submit(&system, "small", SMALL)?;
    ensure!(answer["reopened"] == true, "{answer}");
    ensure!(state(&system)? == "running");

    failpoint.release()?;
    wait_until("the mark of the late coordinator", || {
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

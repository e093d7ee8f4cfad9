//! Whatever is killed, in the middle of whatever: the sweep ends with the digests of the run that nobody disturbed.

use anyhow::{Context, Result, ensure};
use cedm_tests::{System, digits, events::Watch};
use nix::sys::signal::Signal;
use std::{
    collections::BTreeMap,
    sync::OnceLock,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(300);

/// What the undisturbed run makes; computed once for all tests of this file.
fn undisturbed() -> &'static BTreeMap<String, String> {
    static DIGESTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    DIGESTS.get_or_init(|| {
        let run = || -> Result<_> {
            let system = System::start()?;
            digits::submit(&system, "tiny", digits::TINY)?;
            ensure!(Watch::on(&system, "tiny")?.end(PATIENCE)?, "the undisturbed run did not complete");
            system.digests("tiny")
        };
        run().expect("invariant: nothing disturbs this run")
    })
}

/// Kills a worker as soon as it has begun a job, again and again until one kill has hit it in the middle: the job is then begun a
/// second time. Returns the kind of the job that was hit.
fn kill_in_mid_job(system: &System, watch: &mut Watch, service: &str, kinds: &[&str]) -> Result<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        ensure!(Instant::now() < end, "no kill has hit {service} in the middle of a job");
        let begun = watch.until(&format!("a job of {service}"), PATIENCE, |event| {
            event["what"] == "started" && kinds.iter().any(|kind| event["kind"] == *kind)
        })?;
        system.signal(&format!("{service}-1"), Signal::SIGKILL)?;
        let next = watch.until("its end or its second start", PATIENCE, |event| {
            event["key"] == begun["key"]
                && (event["what"] == "done" || (event["what"] == "started" && event["attempt"] != begun["attempt"]))
        })?;
        if next["what"] == "started" {
            return Ok(begun["kind"].as_str().context("an event without a kind")?.to_owned());
        }
    }
}

fn survives_the_kill_of(service: &str, kinds: &[&str]) -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "tiny", digits::TINY)?;
    let mut watch = Watch::on(&system, "tiny")?;
    kill_in_mid_job(&system, &mut watch, service, kinds)?;
    ensure!(watch.end(PATIENCE)?, "the sweep did not complete after {service} was killed");
    assert_eq!(&system.digests("tiny")?, undisturbed());
    Ok(())
}

#[test]
fn extractor() -> Result<()> {
    survives_the_kill_of("extractor", &["fit", "extract", "features"])
}

#[test]
fn clusterer() -> Result<()> {
    survives_the_kill_of("clusterer", &["neighbours", "cluster"])
}

#[test]
fn bounds() -> Result<()> {
    survives_the_kill_of("bounds", &["bound"])
}

#[test]
fn trainer() -> Result<()> {
    survives_the_kill_of("trainer", &["train"])
}

#[test]
fn sampler() -> Result<()> {
    survives_the_kill_of("sampler", &["sample", "sample_set"])
}

#[test]
fn evaluator() -> Result<()> {
    survives_the_kill_of("evaluator", &["measure", "reference", "score"])
}

/// Kills a child while a network is trained, then lets the sweep end.
fn survives_in_mid_training(child: &str) -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "tiny", digits::TINY)?;
    let mut watch = Watch::on(&system, "tiny")?;
    watch.until("training", PATIENCE, |event| event["what"] == "started" && event["kind"] == "train")?;
    system.signal(child, Signal::SIGKILL)?;
    ensure!(watch.end(PATIENCE)?, "the sweep did not complete after {child} was killed");
    assert_eq!(&system.digests("tiny")?, undisturbed());
    Ok(())
}

#[test]
fn coordinator() -> Result<()> {
    survives_in_mid_training("coordinator-1")
}

#[test]
fn nats() -> Result<()> {
    survives_in_mid_training("nats")
}

#[test]
fn store() -> Result<()> {
    survives_in_mid_training("store")
}

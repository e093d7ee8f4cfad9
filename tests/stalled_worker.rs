//! A worker that is suspended for longer than `ack_wait`: its job is redelivered to another worker,
//! and its late result is superseded.

use anyhow::{Context, Result, ensure};
use cedm_contract::{EventWhat, Kind};
use cedm_runtime::commits;
use cedm_tests::{StartOptions, System, digits, events::Watch, failpoint::Failpoint};
use nix::sys::signal::Signal;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(300);

#[test]
fn a_late_result_is_superseded() -> Result<()> {
    // At this failpoint the trainer has uploaded everything and is about to commit.
    let failpoint = Failpoint::at("trainer/before-manifest")?;
    let system = System::start_as(StartOptions {
        options: &["--workers", "trainer=2"],
        environment: &[("CEDM_FAILPOINT", &failpoint.variable())],
        home: None,
    })?;
    digits::submit(&system, "long", digits::LONG)?;
    let mut watch = Watch::all_sweeps(&system)?;
    failpoint.signal(Signal::SIGSTOP, TIMEOUT)?;

    let done = watch.until("the result of the other trainer", TIMEOUT, |event| {
        event["kind"] == "train" && event["what"] == "done"
    })?;
    failpoint.release()?;
    failpoint.signal(Signal::SIGCONT, TIMEOUT)?;
    let late = watch.until("the late result", TIMEOUT, |event| {
        event["key"] == done["key"] && event["what"] == "superseded"
    })?;
    assert_ne!(late["worker"], done["worker"]);
    assert_ne!(late["attempt"], done["attempt"]);

    // The only result is that of the second attempt, and `explain` shows both.
    let explained = system.run_json(&[
        "explain",
        done["key"].as_str().context("an event without a key")?,
    ])?;
    assert_eq!(explained["manifest"]["attempt"], done["attempt"]);
    ensure!(
        explained["events"]
            .as_array()
            .is_some_and(|events| events.iter().any(|event| event["what"] == "superseded")),
        "{explained}"
    );
    ensure!(
        Watch::on(&system, "long")?.end(TIMEOUT)?,
        "the sweep did not complete"
    );
    let events = system.events()?;
    assert!(
        commits(&events)
            .values()
            .all(|attempts| attempts.len() == 1)
    );
    let started = events
        .iter()
        .filter(|event| event.kind == Kind::Train && event.what == EventWhat::Started);
    assert_eq!(started.count(), 2, "the job was redelivered once");
    assert_eq!(system.run_json(&["fsck"])?["broken"], serde_json::json!([]));
    Ok(())
}

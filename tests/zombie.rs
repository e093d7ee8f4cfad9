//! A worker that is frozen longer than the broker waits: its job goes to another, and its late
//! result is set aside, visibly.

use anyhow::{Context, Result, ensure};
use cedm_contract::{EventWhat, Kind};
use cedm_runtime::commits;
use cedm_tests::{Start, System, digits, events::Watch, failpoint::Held};
use nix::sys::signal::Signal;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_late_result_is_superseded() -> Result<()> {
    // It has trained and uploaded everything, and is about to commit.
    let held = Held::at("trainer/before-manifest")?;
    let system = System::start_as(Start {
        options: &["--workers", "trainer=2"],
        environment: &[("CEDM_FAILPOINT", &held.variable())],
        home: None,
    })?;
    digits::submit(&system, "long", digits::LONG)?;
    let mut watch = Watch::everything(&system)?;
    held.signal(Signal::SIGSTOP, PATIENCE)?;

    let done = watch.until("the result of the other", PATIENCE, |event| {
        event["kind"] == "train" && event["what"] == "done"
    })?;
    held.release()?;
    held.signal(Signal::SIGCONT, PATIENCE)?;
    let late = watch.until("the late result", PATIENCE, |event| {
        event["key"] == done["key"] && event["what"] == "superseded"
    })?;
    assert_ne!(late["worker"], done["worker"]);
    assert_ne!(late["attempt"], done["attempt"]);

    // One result, that of the second attempt, and the story says so.
    let told = system.ask(&[
        "explain",
        done["key"].as_str().context("an event without a key")?,
    ])?;
    assert_eq!(told["manifest"]["attempt"], done["attempt"]);
    ensure!(
        told["events"]
            .as_array()
            .is_some_and(|events| events.iter().any(|event| event["what"] == "superseded")),
        "{told}"
    );
    ensure!(
        Watch::on(&system, "long")?.end(PATIENCE)?,
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
    assert_eq!(started.count(), 2, "the job went to the other trainer once");
    assert_eq!(system.ask(&["fsck"])?["broken"], serde_json::json!([]));
    Ok(())
}

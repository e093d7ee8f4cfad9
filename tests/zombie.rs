//! A worker that is frozen longer than the broker waits: its job goes to another, and its late result is set aside, visibly.

use anyhow::{Context, Result, ensure};
use cedm_tests::{ACK_WAIT_S, System, digits, events::Watch};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_late_result_is_superseded() -> Result<()> {
    let system = System::start_with(&["--workers", "trainer=2"])?;
    digits::submit(&system, "long", digits::LONG)?;
    let mut watch = Watch::everything(&system)?;
    let seen = watch.until("progress of the training", PATIENCE, |event| {
        event["kind"] == "train" && event["what"] == "progress"
    })?;
    let status = system.ask(&["status"])?;
    let workers = status["workers"].as_array().context("no workers")?;
    let worker = workers
        .iter()
        .find(|worker| worker["worker"] == seen["worker"])
        .context("the worker of the event is gone")?;
    let frozen = Pid::from_raw(i32::try_from(worker["pid"].as_i64().context("a worker without a process id")?)?);
    signal::kill(frozen, Signal::SIGSTOP)?;

    let again = watch.until("the second attempt", Duration::from_secs(10 * ACK_WAIT_S), |event| {
        event["key"] == seen["key"] && event["what"] == "started" && !same_delivery(event, &seen)
    })?;
    assert_ne!(again["worker"], seen["worker"]);
    let done = watch.until("the result", PATIENCE, |event| {
        event["key"] == seen["key"] && event["what"] == "done"
    })?;
    assert_eq!(done["attempt"], again["attempt"]);

    signal::kill(frozen, Signal::SIGCONT)?;
    let late = watch.until("the late result", PATIENCE, |event| {
        event["key"] == seen["key"] && event["what"] == "superseded"
    })?;
    assert!(same_delivery(&late, &seen), "{late}");

    // One result, that of the second attempt, and the story says so.
    let told = system.ask(&["explain", seen["key"].as_str().context("an event without a key")?])?;
    assert_eq!(told["manifest"]["attempt"], again["attempt"]);
    ensure!(
        told["events"]
            .as_array()
            .is_some_and(|events| events.iter().any(|event| event["what"] == "superseded")),
        "{told}"
    );
    ensure!(Watch::on(&system, "long")?.end(PATIENCE)?, "the sweep did not complete");
    assert_eq!(system.ask(&["fsck"])?["broken"], serde_json::json!([]));
    Ok(())
}

/// Progress is told by delivery (`<sequence>-<count>`), the other events by attempt (`<sequence>-<count>-<ULID>`).
fn same_delivery(event: &serde_json::Value, progress: &serde_json::Value) -> bool {
    let text = |value: &serde_json::Value| value["attempt"].as_str().unwrap_or_default().to_owned();
    text(event).starts_with(&format!("{}-", text(progress)))
}

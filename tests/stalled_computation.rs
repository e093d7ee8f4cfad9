//! A computation that hangs under `cedm up`: its process ends with a code of its own, the
//! supervisor says why and starts another, and the sweep goes on to its end.

use anyhow::{Context, Result, ensure};
use cedm_tests::{StartOptions, System, digits, events::Watch, failpoint::Failpoint};
use serde_json::Value;
use std::{fs, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(300);

#[test]
fn the_supervisor_replaces_a_worker_whose_computation_hangs() -> Result<()> {
    let failpoint = Failpoint::at("bounds/in-compute")?;
    let system = System::start_as(StartOptions {
        options: &[],
        environment: &[
            ("CEDM_FAILPOINT", &failpoint.variable()),
            ("CEDM_STALL_AFTER_S", "bound=3"),
        ],
        home: None,
    })?;
    let mut watch = Watch::all_sweeps(&system)?;
    digits::submit(&system, "tiny", digits::TINY)?;
    let frozen = failpoint.process(TIMEOUT)?;
    let failed = watch.until("the failed attempt", TIMEOUT, |event| {
        event["kind"] == "bound" && event["what"] == "failed"
    })?;
    let message = failed["message"].as_str().unwrap_or_default();
    ensure!(message.contains("has shown no progress for"), "{message}");
    let done = watch.until("the result", TIMEOUT, |event| {
        event["key"] == failed["key"] && event["what"] == "done"
    })?;
    assert_ne!(done["worker"], failed["worker"]);

    let state = fs::read(system.home().join("state.json")).context("read state.json")?;
    let state: Value = serde_json::from_slice(&state)?;
    let children = state["children"].as_array().context("no children")?;
    let bounds = children.iter().find(|child| child["name"] == "bounds-1");
    let bounds = bounds.context("no child bounds-1")?;
    assert_eq!(bounds["restarts"], 1);
    assert_ne!(bounds["process"]["pid"], frozen.as_raw());
    assert_eq!(
        bounds["last_exit"],
        "exited (exit status: 75: its job showed no progress, or its accelerator \
         failed; another attempt follows)"
    );
    Ok(())
}

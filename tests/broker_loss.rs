//! A broker that loses everything it ever knew is a pause: what matters is rebuilt from the store.

use anyhow::{Context, Result, ensure};
use cedm_tests::{System, digits, events::Watch};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::{fs, time::Duration};

const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_wiped_broker_only_pauses_a_sweep() -> Result<()> {
    let untouched = System::start()?;
    digits::submit(&untouched, "tiny", digits::TINY)?;
    ensure!(
        Watch::on(&untouched, "tiny")?.end(PATIENCE)?,
        "the undisturbed run did not complete"
    );
    let expected = untouched.digests("tiny")?;
    drop(untouched);

    let system = System::start()?;
    digits::submit(&system, "tiny", digits::TINY)?;
    let mut watch = Watch::on(&system, "tiny")?;
    watch.until("training", PATIENCE, |event| {
        event["what"] == "started" && event["kind"] == "train"
    })?;
    // The supervisor sleeps meanwhile: it would start the broker again before its files are gone.
    let supervisor = Pid::from_raw(system.supervisor());
    signal::kill(supervisor, Signal::SIGSTOP)?;
    let broker = system.pid("nats")?;
    signal::kill(Pid::from_raw(broker), Signal::SIGKILL)?;
    fs::remove_dir_all(system.home().join("nats/jetstream")).context("wipe the broker's files")?;
    signal::kill(supervisor, Signal::SIGCONT)?;
    ensure!(watch.end(PATIENCE)?, "the sweep did not complete");
    assert_eq!(system.digests("tiny")?, expected);
    assert_eq!(system.ask(&["fsck"])?["broken"], serde_json::json!([]));
    Ok(())
}

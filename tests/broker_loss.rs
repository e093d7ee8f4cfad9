//! A broker that loses all its data only pauses a sweep: its streams are rebuilt from the store.

use anyhow::{Context, Result, ensure};
use cedm_tests::{System, digits, events::Watch};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::{fs, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(300);

#[test]
fn a_sweep_completes_after_the_broker_loses_its_data() -> Result<()> {
    let expected = digits::undisturbed("tiny", digits::TINY, TIMEOUT)?;

    let system = System::start()?;
    digits::submit(&system, "tiny", digits::TINY)?;
    let mut watch = Watch::on(&system, "tiny")?;
    watch.until("training", TIMEOUT, |event| {
        event["what"] == "started" && event["kind"] == "train"
    })?;
    // The supervisor is suspended meanwhile, or it would restart the broker before its files are
    // removed.
    let supervisor = Pid::from_raw(system.supervisor());
    signal::kill(supervisor, Signal::SIGSTOP)?;
    let broker = system.pid("nats")?;
    signal::kill(Pid::from_raw(broker), Signal::SIGKILL)?;
    fs::remove_dir_all(system.home().join("nats/jetstream"))
        .context("remove the broker's files")?;
    signal::kill(supervisor, Signal::SIGCONT)?;
    ensure!(watch.end(TIMEOUT)?, "the sweep did not complete");
    assert_eq!(system.digests("tiny")?, expected);
    assert_eq!(system.run_json(&["fsck"])?["broken"], serde_json::json!([]));
    Ok(())
}

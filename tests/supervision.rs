//! `cedm up`: one system per home, no orphans, and what crashes comes back.

use anyhow::{Context, Result, ensure};
use cedm_tests::{System, program};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

fn eventually(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        ensure!(Instant::now() < end, "{what} did not happen within 30 s");
        thread::sleep(Duration::from_millis(20)); // a foreign process offers no event to wait on
    }
    Ok(())
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn children(system: &System) -> Result<Vec<i32>> {
    [
        "nats",
        "store",
        "coordinator-1",
        "extractor-1",
        "clusterer-1",
        "bounds-1",
        "trainer-1",
        "sampler-1",
        "evaluator-1",
    ]
    .iter()
    .map(|name| system.pid(name))
    .collect()
}

#[test]
fn no_child_outlives_a_killed_supervisor() -> Result<()> {
    let system = System::start()?;
    let children = children(&system)?;
    assert!(children.iter().all(|pid| is_alive(*pid)));
    signal::kill(Pid::from_raw(system.supervisor()), Signal::SIGKILL)?;
    eventually("the end of every child", || {
        !children.iter().any(|pid| is_alive(*pid))
    })
}

#[test]
fn a_second_up_attaches_and_down_stops() -> Result<()> {
    let system = System::start()?;
    let before = children(&system)?;
    let second = system.ask(&["up"])?;
    assert_eq!(second["attached"], true);
    assert_eq!(children(&system)?, before);
    let mut env = std::process::Command::new(program("cedm")?);
    let exports = String::from_utf8(
        env.arg("--home")
            .arg(system.home())
            .arg("env")
            .output()?
            .stdout,
    )?;
    let url = second["environment"]["CEDM_NATS_URL"]
        .as_str()
        .context("no URL")?;
    assert!(
        exports.contains(&format!("export CEDM_NATS_URL='{url}'")),
        "{exports}"
    );
    assert_eq!(system.ask(&["down"])?["stopped"], true);
    eventually("the end of every child", || {
        !before.iter().any(|pid| is_alive(*pid))
    })?;
    assert_eq!(system.ask(&["down"])?["stopped"], false);
    Ok(())
}

#[test]
fn a_crashed_child_is_started_again() -> Result<()> {
    let system = System::start()?;
    for name in ["nats", "store", "trainer-1"] {
        let before = system.pid(name)?;
        system.signal(name, Signal::SIGKILL)?;
        eventually(&format!("the return of {name}"), || {
            system.pid(name).is_ok_and(|pid| pid != before)
        })?;
    }
    Ok(())
}

#[test]
fn a_detached_system_outlives_its_starter() -> Result<()> {
    let home = tempfile::TempDir::new()?;
    let cedm = |arguments: &[&str]| -> Result<std::process::Output> {
        let mut command = std::process::Command::new(program("cedm")?);
        Ok(command
            .arg("--home")
            .arg(home.path())
            .args(["--output", "json"])
            .args(arguments)
            .output()?)
    };
    let workers = "extractor=0,clusterer=0,bounds=0,trainer=0,sampler=0,evaluator=0";
    let up = cedm(&["up", "--detach", "--workers", workers])?;
    ensure!(
        up.status.success(),
        "{}",
        String::from_utf8_lossy(&up.stderr)
    );
    let status = cedm(&["status"])?;
    ensure!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    let down = cedm(&["down"])?;
    assert!(String::from_utf8(down.stdout)?.contains("true"));
    Ok(())
}

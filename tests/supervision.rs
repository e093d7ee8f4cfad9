//! `cedm up`: one system per home, no orphaned processes, and crashed children are restarted.

use anyhow::{Context, Result, ensure};
use cedm_tests::{System, program};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Waits until the condition holds.
fn eventually(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        ensure!(
            Instant::now() < deadline,
            "{what} did not happen within 30 s"
        );
        thread::sleep(Duration::from_millis(20)); // only a parent can wait(2) for a process
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

/// Files and folders below a folder that others than their owner may read or write.
fn readable_by_others(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        // Files of a running system come and go.
        let (path, Ok(data)) = (entry.as_ref().unwrap().path(), entry.unwrap().metadata()) else {
            continue;
        };
        if data.permissions().mode() & 0o077 != 0 {
            found.push(path.clone());
        }
        if data.is_dir() {
            found.extend(readable_by_others(&path)?);
        }
    }
    Ok(found)
}

#[test]
fn what_a_system_writes_is_for_its_owner_alone_in_a_folder_that_existed_too() -> Result<()> {
    let system = System::start()?;
    let found = readable_by_others(system.home())?;
    assert!(found.is_empty(), "{found:?}");
    Ok(())
}

#[test]
fn a_second_up_attaches_and_down_stops_everything() -> Result<()> {
    let system = System::start()?;
    let before = children(&system)?;
    let second = system.run_json(&["up"])?;
    assert_eq!(second["attached"], true);
    assert_eq!(children(&system)?, before);
    assert_eq!(
        system.run_json(&["up", "--workers", "sampler=1"])?["attached"],
        true
    );
    // What it cannot become while it runs is said, with the way.
    let wish = ["up", "--workers", "sampler=2,trainer=1", "--prometheus"];
    for options in [wish.to_vec(), [&wish[..], &["--detach"]].concat()] {
        let refused = system.run(&options)?;
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stderr);
        for part in [
            "with 1 of sampler instead of 2, no Prometheus: `cedm down`, then",
            "`cedm up --workers trainer=1,sampler=2 --prometheus`",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
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
    assert_eq!(system.run_json(&["down"])?["stopped"], true);
    eventually("the end of every child", || {
        !before.iter().any(|pid| is_alive(*pid))
    })?;
    assert_eq!(system.run_json(&["down"])?["stopped"], false);
    Ok(())
}

#[test]
fn a_crashed_child_is_restarted() -> Result<()> {
    let system = System::start()?;
    for name in ["nats", "store", "trainer-1"] {
        let before = system.pid(name)?;
        system.signal(name, Signal::SIGKILL)?;
        eventually(&format!("the restart of {name}"), || {
            system.pid(name).is_ok_and(|pid| pid != before)
        })?;
    }
    Ok(())
}

/// A process that hangs does not exit, and is replaced all the same: one that is suspended answers
/// nobody.
#[test]
fn a_child_that_does_not_answer_is_replaced() -> Result<()> {
    let workers = "extractor=0,clusterer=0,trainer=0,sampler=0,evaluator=0";
    let system = System::start_with(&["--workers", workers, "--dead-after", "2"])?;
    let before = system.pid("bounds-1")?;
    system.signal("bounds-1", Signal::SIGSTOP)?;
    eventually("the restart of bounds", || {
        system.pid("bounds-1").is_ok_and(|pid| pid != before)
    })?;
    assert!(!is_alive(before));
    let state = fs::read(system.home().join("state.json")).context("read state.json")?;
    let state: serde_json::Value = serde_json::from_slice(&state)?;
    let children = state["children"].as_array().context("no children")?;
    let bounds = children.iter().find(|child| child["name"] == "bounds-1");
    let why = bounds.context("no child bounds-1")?["last_exit"].to_string();
    assert!(
        why.contains("was killed") && why.contains("/livez has not answered for"),
        "{why}"
    );
    Ok(())
}

#[test]
fn a_detached_system_keeps_running_after_its_command_exits() -> Result<()> {
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

//! A running system, started and stopped by a test.

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Seconds without an acknowledgement or heartbeat after which the broker redelivers a job. Short,
/// so that the job of a killed worker is redelivered soon.
pub const ACK_WAIT_S: u64 = 6;

/// The path of one of the project's programs, next to the folder of this test's own binary.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("find this test's own path")?;
    let folder = here
        .parent()
        .and_then(Path::parent)
        .context("invariant: tests are in <target>/<profile>/deps")?;
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} not found: run `cargo build` first (`cargo xtask test` does)",
        path.display()
    );
    Ok(path)
}

/// `cedm up` in a temporary home. Dropping it stops all processes.
pub struct System {
    home: TempDir,
    supervisor: Child,
    /// End of file on this pipe stops the supervisor.
    supervisor_stdin: Option<ChildStdin>,
}

/// How to start a system.
#[derive(Default)]
pub struct StartOptions<'a> {
    /// Options of `cedm up`.
    pub options: &'a [&'a str],
    /// Environment variables for it and its children.
    pub environment: &'a [(&'a str, &'a str)],
    /// The home of an earlier system; a new one when absent.
    pub home: Option<TempDir>,
}

impl System {
    /// Starts a system with one process of each service.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start() -> Result<Self> {
        Self::start_as(StartOptions::default())
    }
    /// Starts a system with these options of `cedm up`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start_with(options: &[&str]) -> Result<Self> {
        Self::start_as(StartOptions {
            options,
            ..StartOptions::default()
        })
    }
    /// Starts a system as described by `options`.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start_as(options: StartOptions<'_>) -> Result<Self> {
        let home = options
            .home
            .map_or_else(TempDir::new, Ok)
            .context("make a temporary home")?;
        let mut command = Command::new(program("cedm")?);
        command
            .arg("--home")
            .arg(home.path())
            .args(["--output", "json", "up", "--exit-with-parent"])
            .args(options.options);
        command
            .env("CEDM_ACK_WAIT_S", ACK_WAIT_S.to_string())
            .envs(options.environment.iter().copied());
        let mut supervisor = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start cedm up")?;
        let supervisor_stdin = supervisor.stdin.take();
        let mut ready = String::new();
        BufReader::new(
            supervisor
                .stdout
                .take()
                .context("invariant: stdout is piped")?,
        )
        .read_line(&mut ready)?;
        if ready.is_empty() {
            bail!(
                "cedm up exited before it was ready ({})",
                supervisor.wait()?
            );
        }
        Ok(Self {
            home,
            supervisor,
            supervisor_stdin,
        })
    }
    /// The folder that the system keeps its state in.
    pub fn home(&self) -> &Path {
        self.home.path()
    }
    /// A `cedm` command in this home.
    ///
    /// # Errors
    /// When the program was not built.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(program("cedm")?);
        command
            .arg("--home")
            .arg(self.home.path())
            .args(["--output", "json"])
            .args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }
    /// Runs a command to completion, successful or not.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments)?
            .output()
            .with_context(|| format!("run cedm {arguments:?}"))
    }
    /// Runs a command and parses the last JSON value that it prints.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn run_json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(arguments)?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(
            output.status.success(),
            "cedm {arguments:?} exited with {}:\n{out}{err}",
            output.status
        );
        let text = out.trim();
        serde_json::from_str(text)
            .or_else(|_| serde_json::from_str(text.lines().last().unwrap_or("")))
            .with_context(|| format!("cedm {arguments:?} printed no JSON:\n{out}{err}"))
    }
    /// Process id of a running child (`trainer-1`, `nats`, `store`).
    ///
    /// # Errors
    /// When there is no such child, or it is not running.
    pub fn pid(&self, child: &str) -> Result<i32> {
        let state: Value = serde_json::from_slice(
            &std::fs::read(self.home().join("state.json")).context("read state.json")?,
        )?;
        let children = state["children"]
            .as_array()
            .context("state.json has no children")?;
        let found = children
            .iter()
            .find(|entry| entry["name"] == child)
            .with_context(|| format!("no child {child}"))?;
        let pid = found["process"]["pid"]
            .as_i64()
            .with_context(|| format!("{child} is not running"))?;
        Ok(i32::try_from(pid)?)
    }
    /// Sends a signal to a child.
    ///
    /// # Errors
    /// When it is not running.
    pub fn signal(&self, child: &str, wanted: Signal) -> Result<()> {
        signal::kill(Pid::from_raw(self.pid(child)?), wanted)
            .with_context(|| format!("{wanted} to {child}"))
    }
    /// The digest of every result of a complete sweep, by kind and label. Two runs of the same
    /// sweep have equal digests.
    ///
    /// # Errors
    /// When the sweep is unknown or not complete.
    pub fn digests(&self, sweep: &str) -> Result<BTreeMap<String, String>> {
        let outcome = &self.run_json(&["status", sweep])?["outcome"];
        ensure!(
            outcome["state"] == "complete",
            "sweep {sweep} is {}: {}",
            outcome["state"],
            outcome["missing"]
        );
        let nodes = outcome["lineage"].as_array().context("no lineage")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(nodes
            .iter()
            .map(|node| {
                (
                    format!("{} {}", text(&node["kind"]), text(&node["id"])),
                    text(&node["digest"]),
                )
            })
            .collect())
    }
    /// Stops the system in order and returns its home, in which another one can be started.
    ///
    /// # Errors
    /// When `cedm up` fails.
    pub fn stop(mut self) -> Result<TempDir> {
        drop(self.supervisor_stdin.take());
        let status = self.supervisor.wait().context("wait for cedm up")?;
        ensure!(status.success(), "cedm up exited with {status}");
        let home = std::mem::replace(
            &mut self.home,
            TempDir::new().context("make a temporary folder")?,
        );
        Ok(home)
    }
    /// Process id of the supervisor.
    pub fn supervisor(&self) -> i32 {
        self.supervisor.id() as i32
    }
}

impl Drop for System {
    fn drop(&mut self) {
        drop(self.supervisor_stdin.take());
        if let Err(error) = self.supervisor.wait() {
            eprintln!("wait for cedm up: {error}");
        }
    }
}

/// Waits for what no event reports: objects of the store can only be polled.
///
/// # Errors
/// When it does not hold within `timeout`, or `holds` fails.
pub fn wait_until(
    what: &str,
    timeout: Duration,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let end = Instant::now() + timeout;
    while !holds()? {
        ensure!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

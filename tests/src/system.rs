//! A running system.

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
};
use tempfile::TempDir;

/// Seconds without a sign of life after which the broker gives a job to another worker. Short, so
/// that a killed worker's job comes back soon.
pub const ACK_WAIT_S: u64 = 6;

/// One of the project's programs, beside the folder of this test's own binary.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("find this test's own path")?;
    let folder = here
        .parent()
        .and_then(Path::parent)
        .context("invariant: tests lie in <target>/<profile>/deps")?;
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} is missing: run `cargo build` first (`cargo xtask test` does)",
        path.display()
    );
    Ok(path)
}

/// `cedm up` in a home of its own. Dropping it stops everything.
pub struct System {
    home: TempDir,
    supervisor: Child,
    /// Held: its end of file stops the supervisor.
    lifeline: Option<ChildStdin>,
}

/// How to start a system.
#[derive(Default)]
pub struct Start<'a> {
    /// Options of `cedm up`.
    pub options: &'a [&'a str],
    /// Variables for it and its children.
    pub environment: &'a [(&'a str, &'a str)],
    /// A home that was used before; a fresh one when absent.
    pub home: Option<TempDir>,
}

impl System {
    /// A fresh system with one process of each service.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start() -> Result<Self> {
        Self::start_as(Start::default())
    }
    /// A fresh system with these `cedm up` options.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start_with(options: &[&str]) -> Result<Self> {
        Self::start_as(Start {
            options,
            ..Start::default()
        })
    }
    /// A system as described.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn start_as(how: Start<'_>) -> Result<Self> {
        let home = how
            .home
            .map_or_else(TempDir::new, Ok)
            .context("make a temporary home")?;
        let mut command = Command::new(program("cedm")?);
        command
            .arg("--home")
            .arg(home.path())
            .args(["--output", "json", "up", "--exit-with-parent"])
            .args(how.options);
        command
            .env("CEDM_ACK_WAIT_S", ACK_WAIT_S.to_string())
            .envs(how.environment.iter().copied());
        let mut supervisor = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start cedm up")?;
        let lifeline = supervisor.stdin.take();
        let mut ready = String::new();
        BufReader::new(
            supervisor
                .stdout
                .take()
                .context("invariant: stdout is piped")?,
        )
        .read_line(&mut ready)?;
        if ready.is_empty() {
            bail!("cedm up ended before it was ready ({})", supervisor.wait()?);
        }
        Ok(Self {
            home,
            supervisor,
            lifeline,
        })
    }
    /// Its home.
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
    /// Runs a command to its end, whatever that is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments)?
            .output()
            .with_context(|| format!("run cedm {arguments:?}"))
    }
    /// The JSON that a command prints last.
    ///
    /// # Errors
    /// When it fails or prints none.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(arguments)?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(
            output.status.success(),
            "cedm {arguments:?} ended with {}:\n{out}{err}",
            output.status
        );
        let text = out.trim();
        serde_json::from_str(text)
            .or_else(|_| serde_json::from_str(text.lines().last().unwrap_or("")))
            .with_context(|| format!("cedm {arguments:?} printed no JSON:\n{out}{err}"))
    }
    /// Process id of a child (`trainer-1`, `nats`, `store`), once it runs.
    ///
    /// # Errors
    /// When there is no such child.
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
            .with_context(|| format!("{child} does not run now"))?;
        Ok(i32::try_from(pid)?)
    }
    /// Sends a signal to a child.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, child: &str, wanted: Signal) -> Result<()> {
        signal::kill(Pid::from_raw(self.pid(child)?), wanted)
            .with_context(|| format!("{wanted} to {child}"))
    }
    /// What every job of a finished sweep made: digest by the job's name for people. Two runs of
    /// the same sweep agree in all of it.
    ///
    /// # Errors
    /// When the sweep is unknown or not complete.
    pub fn digests(&self, sweep: &str) -> Result<BTreeMap<String, String>> {
        let outcome = &self.ask(&["status", sweep])?["outcome"];
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
    /// Stops everything in order and hands the home over, so that another system can start in it.
    ///
    /// # Errors
    /// When it does not stop well.
    pub fn stop(mut self) -> Result<TempDir> {
        drop(self.lifeline.take());
        let status = self.supervisor.wait().context("wait for cedm up")?;
        ensure!(status.success(), "cedm up ended with {status}");
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
        drop(self.lifeline.take());
        if let Err(error) = self.supervisor.wait() {
            eprintln!("wait for cedm up: {error}");
        }
    }
}

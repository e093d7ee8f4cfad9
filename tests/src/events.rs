//! Events as `cedm watch --output json` prints them, one per line.

use crate::System;
use anyhow::{Context, Result};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// A running `cedm watch`.
pub struct Watch {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Watch {
    /// Follows a sweep from its first event on.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn on(system: &System, sweep: &str) -> Result<Self> {
        Self::start(system, &["watch", sweep])
    }
    /// Follows the events of all sweeps.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn all_sweeps(system: &System) -> Result<Self> {
        Self::start(system, &["watch", "--follow"])
    }
    fn start(system: &System, arguments: &[&str]) -> Result<Self> {
        let mut child = system
            .command(arguments)?
            .spawn()
            .context("start cedm watch")?;
        let out =
            BufReader::new(child.stdout.take().context("invariant: stdout is piped")?).lines();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || forward(out, &sender));
        Ok(Self { child, lines })
    }
    /// The next event that satisfies `matches`; `what` describes it in an error.
    ///
    /// # Errors
    /// When there is none within `timeout`, or the sweep ends first.
    pub fn until(
        &mut self,
        what: &str,
        timeout: Duration,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self
                .lines
                .recv_timeout(left)
                .with_context(|| format!("while waiting for {what}"))?;
            if matches(&event) {
                return Ok(event);
            }
        }
    }
    /// Waits for the end of the sweep; returns whether it is complete.
    ///
    /// # Errors
    /// When it does not end within `timeout`.
    pub fn end(mut self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(error) => return Err(error).context("the sweep did not end in time"),
            }
        }
        Ok(self.child.wait().context("wait for cedm watch")?.success())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn forward(lines: Lines<BufReader<ChildStdout>>, to: &mpsc::Sender<Value>) {
    for line in lines.map_while(Result::ok) {
        if let Ok(value) = serde_json::from_str(&line)
            && to.send(value).is_err()
        {
            break;
        }
    }
}

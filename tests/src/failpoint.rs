//! Failpoints: a place in the protocol where one process is suspended, so that a test can act on it
//! exactly there.

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A failpoint at which the first process of a service that reaches it waits until released.
pub struct Failpoint {
    folder: TempDir,
    place: String,
}

impl Failpoint {
    /// A failpoint at `<service>/<place>`; `shared/runtime/src/failpoint.rs` describes the places.
    ///
    /// # Errors
    /// When no temporary folder can be made.
    pub fn at(place: &str) -> Result<Self> {
        Ok(Self {
            folder: TempDir::new().context("make a temporary folder")?,
            place: place.to_owned(),
        })
    }
    fn marker(&self) -> PathBuf {
        self.folder.path().join("here")
    }
    /// The value of `CEDM_FAILPOINT` for the system's environment.
    pub fn variable(&self) -> String {
        format!("{}:{}:hold", self.place, self.marker().display())
    }
    /// Waits until a process has reached the failpoint; returns its id.
    ///
    /// # Errors
    /// When none reaches it within `timeout`.
    pub fn process(&self, timeout: Duration) -> Result<Pid> {
        let deadline = Instant::now() + timeout;
        while !self.marker().exists() {
            ensure!(
                Instant::now() < deadline,
                "no process reached the failpoint {}",
                self.place
            );
            thread::sleep(Duration::from_millis(20)); // the marker file can only be polled
        }
        let text = fs::read_to_string(self.marker()).context("read the marker")?;
        Ok(Pid::from_raw(
            text.parse().context("a process id in the marker")?,
        ))
    }
    /// Sends a signal to the process at the failpoint.
    ///
    /// # Errors
    /// When no process reaches it within `timeout`.
    pub fn signal(&self, wanted: Signal, timeout: Duration) -> Result<()> {
        let process = self.process(timeout)?;
        signal::kill(process, wanted)
            .with_context(|| format!("{wanted} to process {process} at {}", self.place))
    }
    /// Lets the process continue.
    ///
    /// # Errors
    /// When the release file cannot be written.
    pub fn release(&self) -> Result<()> {
        fs::write(self.folder.path().join("here.go"), "").context("release the held process")
    }
}

//! A place in the protocol where one process is held, so that what happens to it there is no matter
//! of luck.

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

/// The first process of one service that comes to a place is held there.
pub struct Held {
    folder: TempDir,
    place: String,
}

impl Held {
    /// At `<service>/<place>`; the places are named in `shared/runtime`.
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
    /// The value of `CEDM_FAILPOINT` for the whole system.
    pub fn variable(&self) -> String {
        format!("{}:{}:hold", self.place, self.marker().display())
    }
    /// Waits until a process is there; its id.
    ///
    /// # Errors
    /// When none comes within `patience`.
    pub fn process(&self, patience: Duration) -> Result<Pid> {
        let end = Instant::now() + patience;
        while !self.marker().exists() {
            ensure!(Instant::now() < end, "no process came to {}", self.place);
            thread::sleep(Duration::from_millis(20)); // a foreign process offers no event to wait on
        }
        let text = fs::read_to_string(self.marker()).context("read the marker")?;
        Ok(Pid::from_raw(
            text.parse().context("a process id in the marker")?,
        ))
    }
    /// Sends a signal to the process that is there.
    ///
    /// # Errors
    /// When there is none.
    pub fn signal(&self, wanted: Signal, patience: Duration) -> Result<()> {
        let process = self.process(patience)?;
        signal::kill(process, wanted)
            .with_context(|| format!("{wanted} to process {process} at {}", self.place))
    }
    /// Lets it go on.
    ///
    /// # Errors
    /// When the file that says so cannot be written.
    pub fn release(&self) -> Result<()> {
        fs::write(self.folder.path().join("here.go"), "").context("release the held process")
    }
}

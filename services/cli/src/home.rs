//! The home of a local system: one folder (`.cedm` by default) with its credentials, its state, its
//! logs and everything it stores.

use crate::up::endpoints::Endpoints;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The home's folder, as an absolute path.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The home at `folder`, which need not exist yet.
    ///
    /// # Errors
    /// When the current folder cannot be read (it is needed to make the path absolute).
    pub fn at(folder: &Path) -> Result<Self> {
        Ok(Self(std::path::absolute(folder).with_context(|| {
            format!("make {} absolute", folder.display())
        })?))
    }
    /// The folder's absolute path.
    pub fn path(&self) -> &Path {
        &self.0
    }
    /// Makes the folder, readable by its owner alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> Result<()> {
        for folder in [self.0.clone(), self.logs(), self.objects(), self.nats()] {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder);
            made.with_context(|| format!("make the folder {}", folder.display()))?;
        }
        Ok(())
    }
    /// Where the logs of every service are.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
    /// The root of the embedded S3 store.
    pub fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }
    /// JetStream's files and the server's configuration.
    pub fn nats(&self) -> PathBuf {
        self.0.join("nats")
    }
    /// How to reach this system; `None` when it was never started.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn endpoints(&self) -> Result<Option<Endpoints>> {
        read_json(&self.0.join("access.json"))
    }
    /// Writes how to reach this system to a file of mode 0600.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_endpoints(&self, endpoints: &Endpoints) -> Result<()> {
        write_json(&self.0.join("access.json"), endpoints)
    }
    /// Which processes run here, or ran when their supervisor was last alive.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn state(&self) -> Result<Option<State>> {
        read_json(&self.0.join("state.json"))
    }
    /// Writes which processes run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_state(&self, state: &State) -> Result<()> {
        write_json(&self.0.join("state.json"), state)
    }
    /// Removes the state: nothing runs any more.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove_state(&self) -> Result<()> {
        match fs::remove_file(self.0.join("state.json")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("remove state.json")
            }
            _ => Ok(()),
        }
    }
    /// The lock that a supervisor holds as long as it lives: the kernel releases it however the
    /// process ends. `None` when another process holds it.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn lock(&self) -> Result<Option<File>> {
        let path = self.0.join("up.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("lock {}", path.display()))
            }
        }
    }
    /// Whether a supervisor is alive here.
    pub fn is_up(&self) -> bool {
        self.0.join("up.lock").exists() && matches!(self.lock(), Ok(None))
    }
}

/// Which processes run in a home; kept in `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The process that supervises the system.
    pub supervisor: Process,
    /// Whether it is starting, ready or stopping.
    pub phase: Phase,
    /// Its children, by name.
    pub children: Vec<Child>,
}

/// Where a system stands between start and stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Children are being started.
    #[default]
    Starting,
    /// Every child has been ready.
    Ready,
    /// Children are being stopped.
    Stopping,
}

/// A process and its start time: process ids are reused, pairs of both are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id, to signal it by.
    pub pid: i32,
    /// Clock ticks from boot to its start, as the kernel counts them.
    pub start_ticks: u64,
}

/// One child of the supervisor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// `nats`, `store`, `prometheus`, or a service's name and number: `sampler-1`.
    pub name: String,
    /// The running process; `None` between an exit and the restart.
    pub process: Option<Process>,
    /// How often it was restarted.
    pub restarts: u32,
    /// How it ended the last time, and what that means; absent before it has ended.
    #[serde(default)]
    pub last_exit: Option<String>,
    /// Where its metrics and health are, `127.0.0.1:<port>`; absent where there are none.
    pub metrics: Option<String>,
    /// The child's log file.
    pub log: PathBuf,
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => {
            Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged; remove it", path.display())
            })?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    cedm_atomic_file::write_private(path, &serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_runtime::deploy::Credentials;
    use std::os::unix::fs::PermissionsExt;

    fn endpoints() -> Endpoints {
        Endpoints {
            nats_port: 1,
            nats_monitor_port: 2,
            s3_port: 3,
            bucket: "cedm".into(),
            prometheus_port: None,
            credentials: Credentials::generate(),
        }
    }

    #[test]
    fn credentials_are_readable_by_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("home")).unwrap();
        home.create().unwrap();
        assert!(home.endpoints().unwrap().is_none());
        let endpoints = endpoints();
        home.save_endpoints(&endpoints).unwrap();
        assert_eq!(home.endpoints().unwrap(), Some(endpoints));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.path().join("access.json")), 0o600);
        assert_eq!(mode(home.path()), 0o700);
    }

    #[test]
    fn only_one_supervisor_can_hold_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert!(!home.is_up());
        let held = home.lock().unwrap();
        assert!(held.is_some());
        assert!(home.lock().unwrap().is_none());
        assert!(home.is_up());
        drop(held);
        assert!(!home.is_up());
    }
}

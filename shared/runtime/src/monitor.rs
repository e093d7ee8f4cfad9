//! How a long computation talks to the outside without knowing who listens: progress, checkpoints, the wish to stop.

use crate::JobError;
use std::path::{Path, PathBuf};

/// Given to every long computation. In `serve` it is the job's [`crate::Desk`]; in `run` a [`ConsoleMonitor`]; in tests a
/// [`QuietMonitor`].
pub trait Monitor {
    /// How far the work is; called as often as convenient, the receiver thins it out.
    fn progress(&self, done: u64, total: u64, unit: &'static str);
    /// A number worth watching while the work runs (`cedm_train_loss`); names are those of the service's own gauges.
    fn gauge(&self, name: &'static str, value: f64);
    /// Adds to a counter of the service (`cedm_train_images_total`).
    fn count(&self, name: &'static str, by: u64);
    /// Whether to write a checkpoint and return [`JobError::Drained`] at the next convenient point.
    fn stopping(&self) -> bool;
    /// Whether it is time for a checkpoint.
    fn checkpoint_due(&self) -> bool;
    /// Stores the file as the checkpoint at `step`; create-only, verified when read back.
    ///
    /// # Errors
    /// When the store refuses it.
    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError>;
    /// The highest checkpoint that verifies, as a local file.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn resume(&self) -> Result<Option<(u64, PathBuf)>, JobError>;
}

/// Says nothing, never stops, keeps no checkpoint.
#[derive(Debug, Default, Clone, Copy)]
pub struct QuietMonitor;

impl Monitor for QuietMonitor {
    fn progress(&self, _: u64, _: u64, _: &'static str) {}
    fn gauge(&self, _: &'static str, _: f64) {}
    fn count(&self, _: &'static str, _: u64) {}
    fn stopping(&self) -> bool {
        false
    }
    fn checkpoint_due(&self) -> bool {
        false
    }
    fn checkpoint(&self, _: u64, _: &Path) -> Result<(), JobError> {
        Ok(())
    }
    fn resume(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        Ok(None)
    }
}

/// For `run`: a progress line on stderr, checkpoints in a folder, Ctrl-C as the wish to stop.
#[derive(Debug, Default)]
pub struct ConsoleMonitor {
    /// Folder for checkpoints; none are kept when absent.
    pub checkpoints: Option<PathBuf>,
}

impl Monitor for ConsoleMonitor {
    fn progress(&self, done: u64, total: u64, unit: &'static str) {
        eprint!("\r{done}/{total} {unit}   ");
    }
    fn gauge(&self, _: &'static str, _: f64) {}
    fn count(&self, _: &'static str, _: u64) {}
    fn stopping(&self) -> bool {
        false
    }
    fn checkpoint_due(&self) -> bool {
        false
    }
    fn checkpoint(&self, _: u64, _: &Path) -> Result<(), JobError> {
        Ok(())
    }
    fn resume(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        Ok(None)
    }
}

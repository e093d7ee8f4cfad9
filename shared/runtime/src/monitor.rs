//! How a long computation talks to the outside without knowing who listens: progress, checkpoints, the wish to stop.

use crate::JobError;
use std::{
    path::{Path, PathBuf},
    sync::{
        LazyLock, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Given to every long computation. In `serve` it is the job's [`crate::Desk`]; in `run` a [`ConsoleMonitor`]; in tests a
/// [`QuietMonitor`].
pub trait Monitor {
    /// How far the work is; called as often as convenient, the receiver thins it out.
    fn progress(&self, done: u64, total: u64, unit: &'static str);
    /// A number worth watching while the work runs (`cedm_train_loss`); names are those of the service's own gauges.
    fn gauge(&self, name: &'static str, value: f64);
    /// The same for a list of numbers, one series for each.
    fn gauge_list(&self, _name: &'static str, _values: &[f64]) {}
    /// Adds to a counter of the service (`cedm_train_images_total`).
    fn count(&self, name: &'static str, by: u64);
    /// Whether to write a checkpoint and return [`JobError::Drained`] at the next convenient point.
    fn stopping(&self) -> bool;
    /// Whether it is time for a checkpoint.
    fn checkpoint_due(&self) -> bool;
    /// Stores the file as the checkpoint at `step`; create-only, verified when read back. A store that is away is borne: the
    /// computation goes on, and an earlier checkpoint stands.
    ///
    /// # Errors
    /// When the file cannot be read, or (in a folder) written.
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

/// What the console remembers between two calls; there is one per process.
#[derive(Debug)]
struct ConsoleState {
    begun: Instant,
    drawn: Mutex<Option<Instant>>,
    saved: Mutex<Instant>,
}

impl Default for ConsoleState {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            drawn: Mutex::default(),
            saved: Mutex::new(Instant::now()),
        }
    }
}

static STATE: LazyLock<ConsoleState> = LazyLock::new(ConsoleState::default);

/// Between two drawings of the progress line.
const REDRAW: Duration = Duration::from_millis(200);
/// Between two checkpoints.
const CONSOLE_CHECKPOINT: Duration = Duration::from_secs(60);

/// Set by the first Ctrl-C; the second ends the process.
static STOP: AtomicBool = AtomicBool::new(false);

/// Hears Ctrl-C from the first call on: the first asks the computation to stop at a checkpoint, the second ends the process.
fn hear_interrupts() {
    static LISTENER: Once = Once::new();
    LISTENER.call_once(|| {
        std::thread::spawn(listen_for_interrupts);
    });
}

/// Without a runtime there are no signals to hear; Ctrl-C then ends the process as usual.
fn listen_for_interrupts() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        while tokio::signal::ctrl_c().await.is_ok() {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("\nstopping at the next checkpoint; Ctrl-C again to stop now");
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Monitor for ConsoleMonitor {
    fn progress(&self, done: u64, total: u64, unit: &'static str) {
        let mut drawn = lock(&STATE.drawn);
        let is_last = total > 0 && done >= total;
        if !is_last && drawn.is_some_and(|at| at.elapsed() < REDRAW) {
            return;
        }
        *drawn = Some(Instant::now());
        let rate = done as f64 / STATE.begun.elapsed().as_secs_f64().max(1e-3);
        let end = if is_last { "\n" } else { "" };
        eprint!("\r{done}/{total} {unit}, {rate:.1}/s   {end}");
    }
    fn gauge(&self, _: &'static str, _: f64) {}
    fn count(&self, _: &'static str, _: u64) {}
    fn stopping(&self) -> bool {
        // Where no checkpoints are kept, Ctrl-C ends the process as usual.
        if self.checkpoints.is_none() {
            return false;
        }
        hear_interrupts();
        STOP.load(Ordering::Relaxed)
    }
    fn checkpoint_due(&self) -> bool {
        self.checkpoints.is_some() && lock(&STATE.saved).elapsed() >= CONSOLE_CHECKPOINT
    }
    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError> {
        let Some(folder) = &self.checkpoints else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(JobError::retry)?;
        // Visible only when whole; the older ones go afterwards.
        let part = folder.join("part");
        std::fs::copy(file, &part).map_err(JobError::retry)?;
        std::fs::rename(&part, folder.join(format!("step-{step:012}"))).map_err(JobError::retry)?;
        *lock(&STATE.saved) = Instant::now();
        for (older, path) in saved(folder)? {
            if older < step {
                std::fs::remove_file(path).map_err(JobError::retry)?;
            }
        }
        Ok(())
    }
    fn resume(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        let found = match &self.checkpoints {
            Some(folder) if folder.is_dir() => saved(folder)?.pop(),
            _ => None,
        };
        if let Some((step, _)) = &found {
            eprintln!("going on from the checkpoint at step {step}");
        }
        Ok(found)
    }
}

/// Checkpoints of a folder by step, ascending.
fn saved(folder: &Path) -> Result<Vec<(u64, PathBuf)>, JobError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(JobError::retry)? {
        let entry = entry.map_err(JobError::retry)?;
        let name = entry.file_name();
        if let Some(step) = name
            .to_str()
            .and_then(|name| name.strip_prefix("step-"))
            .and_then(|step| step.parse().ok())
        {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_keeps_the_last_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let monitor = ConsoleMonitor {
            checkpoints: Some(folder.path().join("checkpoints")),
        };
        assert!(monitor.resume().unwrap().is_none());
        let file = folder.path().join("state");
        for step in [3, 20] {
            std::fs::write(&file, step.to_string()).unwrap();
            monitor.checkpoint(step, &file).unwrap();
        }
        let (step, path) = monitor.resume().unwrap().unwrap();
        assert_eq!((step, std::fs::read_to_string(path).unwrap().as_str()), (20, "20"));
        assert_eq!(std::fs::read_dir(folder.path().join("checkpoints")).unwrap().count(), 1);
    }
}

//! How a long computation talks to the outside without knowing who listens: progress, checkpoints,
//! the wish to stop.

use crate::{
    JobError,
    metrics::{Counter, Gauge, GaugeList, Metric},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        LazyLock, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Given to every long computation. In `serve` it is the job's [`crate::JobContext`]; in `run` a
/// [`ConsoleMonitor`]; in tests a [`QuietMonitor`].
pub trait Monitor {
    /// How far the work is; called as often as convenient, the receiver thins it out.
    fn progress(&self, done: u64, total: u64, unit: &'static str);
    /// Sets a gauge of the service (`cedm_train_loss`).
    fn gauge(&self, _gauge: &'static Metric<Gauge>, _value: f64) {}
    /// Sets a list of gauges of the service, one series per element.
    fn gauge_list(&self, _list: &'static Metric<GaugeList, 1>, _values: &[f64]) {}
    /// A line for a person who looks on while `run` works; services have their gauges and logs.
    fn note(&self, _line: &str) {}
    /// Adds to a counter of the service (`cedm_train_images_total`).
    fn count(&self, _counter: &'static Metric<Counter>, _by: u64) {}
    /// Whether to write a checkpoint and return [`JobError::Drained`] at the next convenient point.
    fn stopping(&self) -> bool;
    /// Whether it is time for a checkpoint.
    fn checkpoint_due(&self) -> bool;
    /// Stores the file as the checkpoint at `step`; create-only, verified when read back. A store
    /// that is away is borne: the computation goes on, and an earlier checkpoint stands.
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
#[derive(Debug)]
pub struct ConsoleMonitor {
    /// Folder for checkpoints; none are kept when absent.
    pub checkpoints: Option<PathBuf>,
    /// Between two checkpoints.
    pub every: Duration,
}

impl Default for ConsoleMonitor {
    fn default() -> Self {
        Self {
            checkpoints: None,
            every: Duration::from_secs(60),
        }
    }
}

impl ConsoleMonitor {
    /// With checkpoints in this folder, one a minute.
    pub fn keeping(checkpoints: PathBuf) -> Self {
        Self {
            checkpoints: Some(checkpoints),
            ..Self::default()
        }
    }

    /// Step of the newest checkpoint, if there is one.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn newest(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        match &self.checkpoints {
            Some(folder) if folder.is_dir() => Ok(saved(folder)?.pop()),
            _ => Ok(None),
        }
    }
}

/// What the console remembers between two calls; there is one per process.
#[derive(Debug)]
struct ConsoleState {
    pace: Mutex<Option<Pace>>,
    drawn: Mutex<Option<Instant>>,
    saved: Mutex<Instant>,
}

/// Where the counting of one stretch of work began: not at 0 when it goes on from a checkpoint.
#[derive(Clone, Copy, Debug)]
struct Pace {
    total: u64,
    unit: &'static str,
    from: u64,
    last: u64,
    begun: Instant,
}

impl Pace {
    /// Units per second since the stretch began; another total or unit, or a smaller number, begins
    /// a new one.
    fn rate(slot: &mut Option<Pace>, done: u64, total: u64, unit: &'static str) -> Option<f64> {
        let goes_on = |pace: &Pace| pace.total == total && pace.unit == unit && pace.last <= done;
        let pace = slot.take().filter(goes_on).unwrap_or_else(|| Pace {
            total,
            unit,
            from: done,
            last: done,
            begun: Instant::now(),
        });
        *slot = Some(Pace { last: done, ..pace });
        (done > pace.from)
            .then(|| (done - pace.from) as f64 / pace.begun.elapsed().as_secs_f64().max(1e-3))
    }
}

impl Default for ConsoleState {
    fn default() -> Self {
        Self {
            pace: Mutex::default(),
            drawn: Mutex::default(),
            saved: Mutex::new(Instant::now()),
        }
    }
}

static STATE: LazyLock<ConsoleState> = LazyLock::new(ConsoleState::default);

/// Between two drawings of the progress line.
const REDRAW: Duration = Duration::from_millis(200);

/// Set by the first Ctrl-C; the second ends the process.
static STOP: AtomicBool = AtomicBool::new(false);

/// Hears Ctrl-C from the first call on: the first asks the computation to stop at a checkpoint, the
/// second ends the process.
fn watch_interrupts() {
    static LISTENER: Once = Once::new();
    LISTENER.call_once(|| {
        std::thread::spawn(listen_for_interrupts);
    });
}

/// Without a runtime there are no signals to hear; Ctrl-C then ends the process as usual.
fn listen_for_interrupts() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
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
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Monitor for ConsoleMonitor {
    fn progress(&self, done: u64, total: u64, unit: &'static str) {
        let rate = Pace::rate(&mut lock(&STATE.pace), done, total, unit);
        let mut drawn = lock(&STATE.drawn);
        let is_last = total > 0 && done >= total;
        if !is_last && drawn.is_some_and(|at| at.elapsed() < REDRAW) {
            return;
        }
        *drawn = Some(Instant::now());
        let rate = rate.map_or_else(String::new, |rate| format!(", {rate:.1}/s"));
        let end = if is_last { "\n" } else { "" };
        eprint!("\r{done}/{total} {unit}{rate}   {end}");
    }
    fn note(&self, line: &str) {
        eprintln!("\r{line:<60}");
    }
    fn stopping(&self) -> bool {
        // Where no checkpoints are kept, Ctrl-C ends the process as usual.
        if self.checkpoints.is_none() {
            return false;
        }
        watch_interrupts();
        STOP.load(Ordering::Relaxed)
    }
    fn checkpoint_due(&self) -> bool {
        self.checkpoints.is_some() && lock(&STATE.saved).elapsed() >= self.every
    }
    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError> {
        let Some(folder) = &self.checkpoints else {
            return Ok(());
        };
        std::fs::create_dir_all(folder).map_err(JobError::retry)?;
        // Visible only when whole; the older ones go afterwards.
        let part = folder.join("part");
        let _ = std::fs::remove_file(&part);
        // A second name for the same bytes where the file system has that: a checkpoint can be
        // gigabytes.
        if std::fs::hard_link(file, &part).is_err() {
            std::fs::copy(file, &part).map_err(JobError::retry)?;
        }
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
        let found = self.newest()?;
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
        let monitor = ConsoleMonitor::keeping(folder.path().join("checkpoints"));
        assert!(monitor.resume().unwrap().is_none());
        let file = folder.path().join("state");
        for step in [3, 20] {
            std::fs::write(&file, step.to_string()).unwrap();
            monitor.checkpoint(step, &file).unwrap();
            std::fs::remove_file(&file).unwrap();
        }
        let (step, path) = monitor.resume().unwrap().unwrap();
        assert_eq!(
            (step, std::fs::read_to_string(path).unwrap().as_str()),
            (20, "20")
        );
        assert_eq!(
            std::fs::read_dir(folder.path().join("checkpoints"))
                .unwrap()
                .count(),
            1
        );
    }

    #[test]
    fn the_rate_counts_what_this_process_did() {
        let mut pace = None;
        assert_eq!(Pace::rate(&mut pace, 300_000, 1_000_000, "images"), None);
        std::thread::sleep(Duration::from_millis(20));
        let rate = Pace::rate(&mut pace, 300_010, 1_000_000, "images").unwrap();
        assert!(rate > 0.0 && rate <= 500.0, "{rate}");
        // Other work begins anew.
        assert_eq!(Pace::rate(&mut pace, 300_010, 2_000_000, "images"), None);
        assert_eq!(Pace::rate(&mut pace, 10, 2_000_000, "images"), None);
    }
}

//! How a long computation reports progress and metrics, stores checkpoints and learns that it
//! should stop, without knowing whether a queue or a terminal is behind it.

use crate::{
    JobError,
    metrics::{Counter, Gauge, GaugeList, Metric},
};
use cedm_terminal::errln;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Given to every long computation. In `serve` it is the job's [`crate::JobContext`]; in `run` a
/// [`ConsoleMonitor`]; in tests a [`QuietMonitor`].
pub trait Monitor {
    /// Reports how far the work is. Called as often as convenient: the receiver limits the rate.
    fn progress(&self, done: u64, total: u64, unit: &'static str);
    /// Says between two reports that the work goes on; any other call says so too. A job that makes
    /// none for longer than its kind may be silent counts as stalled: whatever takes minutes calls
    /// it.
    fn tick(&self) {}
    /// Sets a gauge of the service (`cedm_train_loss`).
    fn gauge(&self, _gauge: &'static Metric<Gauge>, _value: f64) {}
    /// Sets a list of gauges of the service, one series per element.
    fn gauge_list(&self, _list: &'static Metric<GaugeList, 1>, _values: &[f64]) {}
    /// A line for a person who watches: `run` prints it, `cedm watch` shows the latest beside the
    /// job's progress.
    fn note(&self, _line: &str) {}
    /// Adds to a counter of the service (`cedm_train_images_total`).
    fn count(&self, _counter: &'static Metric<Counter>, _by: u64) {}
    /// Whether to write a checkpoint and return [`JobError::Drained`] at the next convenient point.
    fn stopping(&self) -> bool;
    /// Whether it is time for a checkpoint.
    fn checkpoint_due(&self) -> bool;
    /// Stores the file as the checkpoint at `step`; create-only, verified when it is read back. If
    /// the store cannot be reached, the computation continues and an earlier checkpoint stays
    /// valid.
    ///
    /// # Errors
    /// When the file cannot be read, or (in a folder) written.
    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError>;
    /// Step and local file of the highest checkpoint that verifies.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn resume(&self) -> Result<Option<(u64, PathBuf)>, JobError>;
}

/// Ignores progress and metrics, never stops, keeps no checkpoint.
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

/// For `run`: a progress line on stderr, checkpoints in a folder, Ctrl-C as the request to stop.
#[derive(Debug)]
pub struct ConsoleMonitor {
    checkpoints: Option<PathBuf>,
    every: Duration,
    state: Mutex<ConsoleState>,
    interrupt: Interrupt,
}

/// What the console remembers between two calls.
#[derive(Debug)]
struct ConsoleState {
    pace: Option<Pace>,
    drawn: Option<Instant>,
    saved: Instant,
}

/// A monitor that writes no checkpoints.
impl Default for ConsoleMonitor {
    fn default() -> Self {
        Self {
            checkpoints: None,
            every: Duration::from_secs(60),
            state: Mutex::new(ConsoleState {
                pace: None,
                drawn: None,
                saved: Instant::now(),
            }),
            interrupt: Interrupt::default(),
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

    /// The same with this time between two checkpoints.
    pub fn with_interval(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Step and file of the newest checkpoint, if there is one.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn newest(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        match &self.checkpoints {
            Some(folder) if folder.is_dir() => Ok(saved(folder)?.pop()),
            _ => Ok(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, ConsoleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the counting of one stretch of work began: not at 0 when it continues from a checkpoint.
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
        let continues = |pace: &Pace| pace.total == total && pace.unit == unit && pace.last <= done;
        let pace = slot.take().filter(continues).unwrap_or_else(|| Pace {
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

/// Between two drawings of the progress line.
const REDRAW: Duration = Duration::from_millis(200);

/// Ctrl-C: the first asks the computation to stop at a checkpoint, the second ends the process.
/// Signals belong to the process, so only one monitor at a time may watch them.
#[derive(Debug, Default)]
struct Interrupt {
    is_asked: Arc<AtomicBool>,
    listener: OnceLock<()>,
}

impl Interrupt {
    /// Whether Ctrl-C was pressed since the first call, which begins to listen.
    fn is_asked(&self) -> bool {
        self.listener.get_or_init(|| {
            let is_asked = Arc::downgrade(&self.is_asked);
            std::thread::spawn(move || listen_for_interrupts(&is_asked));
        });
        self.is_asked.load(Ordering::Relaxed)
    }
}

/// Where no async runtime starts no signal is received; Ctrl-C then ends the process as usual.
fn listen_for_interrupts(is_asked: &Weak<AtomicBool>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return;
    };
    runtime.block_on(async {
        while tokio::signal::ctrl_c().await.is_ok() {
            // A monitor that has ended leaves nothing that could stop at a checkpoint.
            match is_asked.upgrade() {
                Some(is_asked) if !is_asked.swap(true, Ordering::Relaxed) => {
                    errln!();
                    errln!("stopping at the next checkpoint; Ctrl-C again to stop now");
                }
                _ => std::process::exit(130),
            }
        }
    });
}

impl Monitor for ConsoleMonitor {
    fn progress(&self, done: u64, total: u64, unit: &'static str) {
        let mut state = self.state();
        let rate = Pace::rate(&mut state.pace, done, total, unit);
        let is_last = total > 0 && done >= total;
        if !is_last && state.drawn.is_some_and(|at| at.elapsed() < REDRAW) {
            return;
        }
        state.drawn = Some(Instant::now());
        let rate = rate.map_or_else(String::new, |rate| format!(", {rate:.1}/s"));
        cedm_terminal::redraw_message(&format!("{done}/{total} {unit}{rate}   "), is_last);
    }
    fn note(&self, line: &str) {
        cedm_terminal::redraw_message(&format!("{line:<60}"), true);
    }
    fn stopping(&self) -> bool {
        // Where no checkpoints are kept, Ctrl-C ends the process as usual.
        self.checkpoints.is_some() && self.interrupt.is_asked()
    }
    fn checkpoint_due(&self) -> bool {
        self.checkpoints.is_some() && self.state().saved.elapsed() >= self.every
    }
    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError> {
        let Some(folder) = &self.checkpoints else {
            return Ok(());
        };
        std::fs::create_dir_all(folder)?;
        // It is renamed when it is complete; only then are older ones removed.
        let part = folder.join("part");
        let _ = std::fs::remove_file(&part);
        // A second name for the same bytes where the file system supports that: a checkpoint can be
        // gigabytes.
        if std::fs::hard_link(file, &part).is_err() {
            std::fs::copy(file, &part)?;
        }
        std::fs::rename(&part, folder.join(format!("step-{step:012}")))?;
        self.state().saved = Instant::now();
        for (older, path) in saved(folder)? {
            if older < step {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
    fn resume(&self) -> Result<Option<(u64, PathBuf)>, JobError> {
        let found = self.newest()?;
        if let Some((step, _)) = &found {
            errln!("resuming from the checkpoint at step {step}");
        }
        Ok(found)
    }
}

/// Checkpoints of a folder by step, ascending.
fn saved(folder: &Path) -> Result<Vec<(u64, PathBuf)>, JobError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
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
    fn only_the_last_checkpoint_is_kept() {
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
    fn the_rate_counts_only_the_work_of_this_process() {
        let mut pace = None;
        assert_eq!(Pace::rate(&mut pace, 300_000, 1_000_000, "images"), None);
        std::thread::sleep(Duration::from_millis(20));
        let rate = Pace::rate(&mut pace, 300_010, 1_000_000, "images").unwrap();
        assert!(rate > 0.0 && rate <= 500.0, "{rate}");
        // Other work starts a new count.
        assert_eq!(Pace::rate(&mut pace, 300_010, 2_000_000, "images"), None);
        assert_eq!(Pace::rate(&mut pace, 10, 2_000_000, "images"), None);
    }
}

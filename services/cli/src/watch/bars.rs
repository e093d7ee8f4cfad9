//! Progress bars on a terminal; plain lines when stderr is something else.

use crate::{render, watch::running::RunningJob};
use cedm_contract::{Event, EventWhat, JobKey, Kind};
use cedm_sweep::{lifecycle::Phase, outcome::JobCounts};
use cedm_terminal::{errln, printable};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{collections::BTreeMap, io::IsTerminal};

/// The progress bars of a sweep: one in all, and one for every running job.
pub struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    jobs: BTreeMap<JobKey, ProgressBar>,
    is_terminal: bool,
}

impl Bars {
    /// Bars of a sweep without running jobs.
    pub fn new(sweep: &str) -> Self {
        let all = MultiProgress::new();
        let total = all.add(
            ProgressBar::new(0)
                .with_style(style("{prefix}  {bar:24.cyan} {pos}/{len} jobs  {msg}")),
        );
        total.set_prefix(printable(sweep).into_owned());
        Self {
            all,
            total,
            jobs: BTreeMap::new(),
            is_terminal: std::io::stderr().is_terminal(),
        }
    }
    /// Shows how many jobs are in which state, and the time that is left.
    pub fn set_counts(&self, counts: &JobCounts, phase: Phase, left: Option<String>) {
        self.total
            .set_length(counts.done + counts.ready + counts.waiting + counts.dead + counts.blocked);
        self.total.set_position(counts.done);
        let mut parts = Vec::new();
        if phase == Phase::Paused {
            parts.push("paused (cedm resume)".to_owned());
        }
        parts.extend(left);
        if counts.dead > 0 {
            parts.push(format!(
                "{} dead, {} blocked by them (cedm dead list)",
                counts.dead, counts.blocked
            ));
        }
        if counts.cached > 0 {
            parts.push(format!("{} reused", counts.cached));
        }
        self.total.set_message(parts.join(", "));
    }
    /// Draws the bar of a running job.
    pub fn draw(&mut self, key: &JobKey, label: &str, job: &RunningJob) {
        let bar = self.jobs.entry(key.clone()).or_insert_with(|| {
            self.all
                .add(ProgressBar::new(0).with_style(style("  {prefix:34!} {bar:20} {msg}")))
        });
        bar.set_prefix(printable(label).into_owned());
        bar.set_length(job.total.max(1));
        bar.set_position(job.done.min(job.total));
        let mut parts = vec![if job.total > 0 {
            format!("{}/{} {}", job.done, job.total, job.unit)
        } else {
            "running".to_owned()
        }];
        parts.extend(job.rate().map(render::rate));
        parts.extend(
            job.time_left()
                .map(|left| format!("{} left", render::duration(left))),
        );
        parts.extend(Some(&job.note).filter(|note| !note.is_empty()).cloned());
        bar.set_message(printable(&parts.join("  ")).into_owned());
    }
    /// Removes a job's bar.
    pub fn remove(&mut self, key: &JobKey) {
        if let Some(bar) = self.jobs.remove(key) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }
    /// Prints a line above the bars for events that matter after the bar is gone.
    pub fn print_event(&self, event: &Event, label: &str) {
        let milestone = matches!(
            event.kind,
            Kind::Features | Kind::Cluster | Kind::Bound | Kind::Train | Kind::Score
        );
        let line = match event.what {
            EventWhat::Done if event.cached => return,
            EventWhat::Done if milestone || !self.is_terminal => format!("done   {label}"),
            EventWhat::Failed => format!("failed {label}: {}", first_line(&event.message)),
            EventWhat::Dead => format!("dead   {label}: {}", first_line(&event.message)),
            EventWhat::Superseded => {
                format!(
                    "superseded {label}: another attempt committed first; this result is discarded"
                )
            }
            _ => return,
        };
        self.print(&line);
    }
    /// Prints a line above the bars.
    pub fn print(&self, line: &str) {
        if self.is_terminal {
            self.all.println(printable(line)).ok(); // the terminal may be closed by now
        } else {
            errln!("{line}");
        }
    }
    /// Removes all bars from the terminal.
    pub fn clear(&mut self) {
        self.total.finish_and_clear();
        self.all.clear().ok(); // the terminal may be closed by now
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("invariant: the template is valid")
        .progress_chars("━╸ ")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

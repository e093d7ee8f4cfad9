//! Bars in a terminal, lines elsewhere.

use crate::{render, watch::running::Run};
use cedm_contract::{Event, EventWhat, JobKey, Kind};
use cedm_sweep::outcome::JobCounts;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{collections::BTreeMap, io::IsTerminal};

/// The picture of a running sweep.
pub struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    jobs: BTreeMap<JobKey, ProgressBar>,
    is_terminal: bool,
}

impl Bars {
    /// An empty picture.
    pub fn new(sweep: &str) -> Self {
        let all = MultiProgress::new();
        let total = all.add(
            ProgressBar::new(0)
                .with_style(style("{prefix}  {bar:24.cyan} {pos}/{len} jobs  {msg}")),
        );
        total.set_prefix(sweep.to_owned());
        Self {
            all,
            total,
            jobs: BTreeMap::new(),
            is_terminal: std::io::stderr().is_terminal(),
        }
    }
    /// Shows how many jobs are where.
    pub fn counts(&self, counts: &JobCounts) {
        self.total
            .set_length(counts.done + counts.ready + counts.waiting + counts.dead + counts.blocked);
        self.total.set_position(counts.done);
        let mut words = Vec::new();
        if counts.dead > 0 {
            words.push(format!(
                "{} dead, {} wait for them (cedm dead list)",
                counts.dead, counts.blocked
            ));
        }
        if counts.cached > 0 {
            words.push(format!("{} reused", counts.cached));
        }
        self.total.set_message(words.join(", "));
    }
    /// Draws a running job.
    pub fn draw(&mut self, key: &JobKey, label: &str, run: &Run) {
        let bar = self.jobs.entry(key.clone()).or_insert_with(|| {
            self.all
                .add(ProgressBar::new(0).with_style(style("  {prefix:34!} {bar:20} {msg}")))
        });
        bar.set_prefix(label.to_owned());
        bar.set_length(run.total.max(1));
        bar.set_position(run.done.min(run.total));
        let mut words = vec![if run.total > 0 {
            format!("{}/{} {}", run.done, run.total, run.unit)
        } else {
            "running".to_owned()
        }];
        words.extend(run.rate().map(render::rate));
        words.extend(
            run.left()
                .map(|left| format!("{} left", render::duration(left))),
        );
        bar.set_message(words.join("  "));
    }
    /// Takes a job's bar away.
    pub fn remove(&mut self, key: &JobKey) {
        if let Some(bar) = self.jobs.remove(key) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }
    /// A line above the bars for what stays worth knowing.
    pub fn note(&self, event: &Event, label: &str) {
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
                format!("late   {label}: another attempt had finished; this result was set aside")
            }
            _ => return,
        };
        self.say(&line);
    }
    /// A line above the bars.
    pub fn say(&self, line: &str) {
        if self.is_terminal {
            self.all.println(line).ok(); // a terminal that is gone needs no lines
        } else {
            eprintln!("{line}");
        }
    }
    /// Clears the picture.
    pub fn clear(&mut self) {
        self.total.finish_and_clear();
        self.all.clear().ok(); // as above
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

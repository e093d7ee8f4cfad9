//! The state of one sweep at one moment.

use anyhow::Result;
use cedm_contract::{JobKey, Kind, SweepId, sweep_key};
use cedm_planner::{Node, State};
use cedm_runtime::Connection;
use cedm_sweep::{
    Sweep,
    lifecycle::{Marks, Phase, done_name},
    outcome::{Summary, SweepOutcome},
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A sweep in the store.
pub enum Entry {
    /// With its outcome and jobs.
    Readable(Box<View>),
    /// Without, since its spec cannot be read.
    Unreadable(Unreadable),
}

impl Entry {
    /// Name of the sweep.
    pub fn id(&self) -> &SweepId {
        match self {
            Entry::Readable(view) => &view.sweep.id,
            Entry::Unreadable(unreadable) => &unreadable.id,
        }
    }
    /// Its phase, which `cedm status` shows.
    pub fn phase(&self) -> Phase {
        match self {
            Entry::Readable(view) => view.phase(),
            Entry::Unreadable(unreadable) => unreadable.phase(),
        }
    }
    /// Its view, where it can be read.
    pub fn view(&self) -> Option<&View> {
        match self {
            Entry::Readable(view) => Some(view),
            Entry::Unreadable(_) => None,
        }
    }
    /// The sweep's state in a few lines, with the answer when there is one.
    pub fn summary_lines(&self) -> Vec<String> {
        match self {
            Entry::Readable(view) => view.summary_lines(),
            Entry::Unreadable(unreadable) => vec![unreadable.sentence()],
        }
    }
}

/// A sweep whose spec is damaged, beyond a limit, or of a newer program. The coordinator starts no
/// job of it.
pub struct Unreadable {
    /// Name of the sweep.
    pub id: SweepId,
    /// Which of its objects exist.
    pub marks: Marks,
    /// Which object is wrong, and how.
    pub reason: String,
}

impl Unreadable {
    /// Where it stands: unreadable or cancelled.
    pub fn phase(&self) -> Phase {
        Phase::of(self.marks, None)
    }
    /// What is wrong and what can be done.
    pub fn sentence(&self) -> String {
        let Self { id, reason, .. } = self;
        if self.phase() == Phase::Cancelled {
            return format!("sweep {id} was cancelled, and cannot be read: {reason}");
        }
        format!(
            "sweep {id} cannot be read: {reason}. No job of it is started; `cedm cancel {id}` ends \
             it, and its file can be submitted under another name"
        )
    }
}

/// A sweep with its outcome and jobs, as read from the store.
pub struct View {
    /// The sweep as submitted.
    pub sweep: Sweep,
    /// Its results so far.
    pub outcome: SweepOutcome,
    /// Its jobs, as far as they are planned.
    pub jobs: Vec<Node>,
    /// Which of its objects exist.
    pub marks: Marks,
    pub(super) by_key: BTreeMap<JobKey, usize>,
}

impl View {
    pub(super) fn new(sweep: Sweep, marks: Marks, outcome: SweepOutcome, jobs: Vec<Node>) -> Self {
        let keys = jobs.iter().enumerate().rev();
        let by_key = keys
            .filter_map(|(index, node)| Some((node.job.as_ref()?.key.clone(), index)))
            .collect();
        Self {
            sweep,
            outcome,
            jobs,
            marks,
            by_key,
        }
    }
    /// Where the sweep stands.
    pub fn phase(&self) -> Phase {
        Phase::of(self.marks, Some(self.outcome.state))
    }
    fn node(&self, key: &JobKey) -> Option<&Node> {
        self.by_key.get(key).and_then(|index| self.jobs.get(*index))
    }
    /// Whether the job is part of this sweep, as far as it is planned.
    pub fn contains(&self, key: &JobKey) -> bool {
        self.by_key.contains_key(key)
    }
    /// The job's label, a name for people.
    pub fn label(&self, key: &JobKey) -> Option<&str> {
        self.node(key).map(|node| node.id.as_str())
    }
    /// The kind of a job of this sweep.
    pub fn kind(&self, key: &JobKey) -> Option<Kind> {
        self.node(key).map(|node| node.kind)
    }
    /// Labels of the jobs that must be done first; empty when all inputs exist.
    pub fn waits_for(&self, key: &JobKey) -> Vec<String> {
        match self.node(key).map(|node| &node.state) {
            Some(State::Waiting { on }) => on.clone(),
            Some(State::Blocked { by }) => by.iter().map(|id| format!("{id} (dead)")).collect(),
            _ => Vec::new(),
        }
    }
    /// Keys of its jobs, as far as they are planned.
    pub fn keys(&self) -> impl Iterator<Item = &JobKey> {
        self.by_key.keys()
    }
    /// Keys of its jobs that have a result.
    pub fn done(&self) -> BTreeSet<&JobKey> {
        let done = self
            .jobs
            .iter()
            .filter(|node| matches!(node.state, State::Done { .. }));
        done.filter_map(|node| Some(&node.job.as_ref()?.key))
            .collect()
    }
    /// Key of its report, where the coordinator has found the sweep complete.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn report(&self, connection: &Connection) -> Result<Option<JobKey>> {
        /// The part of the mark that is read here.
        #[derive(Deserialize)]
        struct DoneMark {
            report: JobKey,
        }
        let mark = sweep_key(&self.sweep.id, &done_name(self.marks.reopenings));
        let bytes = connection.store().get(&mark).await?;
        let mark = bytes.and_then(|bytes| serde_json::from_slice::<DoneMark>(&bytes).ok());
        Ok(mark.map(|mark| mark.report))
    }
    /// Number of its jobs, the report not counted.
    pub fn total(&self) -> u64 {
        let jobs = &self.outcome.jobs;
        jobs.done + jobs.ready + jobs.waiting + jobs.dead + jobs.blocked
    }
    /// The primary metric's summary among these.
    pub fn primary<'a>(&self, summary: &'a BTreeMap<String, Summary>) -> Option<&'a Summary> {
        let space = self.sweep.spec.evaluations.first()?;
        summary.get(&format!("{}/{}", space.name, space.primary))
    }
    /// The sweep's state in a few lines, with the answer when there is one.
    pub fn summary_lines(&self) -> Vec<String> {
        let (id, jobs, total) = (&self.sweep.id, &self.outcome.jobs, self.total());
        let reused = if jobs.cached > 0 {
            format!(", {} of them reused", jobs.cached)
        } else {
            String::new()
        };
        let done = format!("{} of {total} jobs are done{reused}", jobs.done);
        let mut lines = vec![match self.phase() {
            Phase::Cancelled => format!(
                "sweep {id} was cancelled: {done}; every result is kept, and submitting its file \
                 again continues it"
            ),
            Phase::Running if jobs.done == total => format!(
                "sweep {id} is running: all {total} jobs are done{reused}; the coordinator verifies \
                 them and writes the report"
            ),
            Phase::Running => format!("sweep {id} is running: {done}"),
            Phase::Paused if jobs.done == total => format!(
                "sweep {id} is paused: all {total} jobs are done{reused}; `cedm resume {id}` lets \
                 the coordinator verify them and write the report"
            ),
            Phase::Paused => format!(
                "sweep {id} is paused: {done}; running jobs finish and no other is started until \
                 `cedm resume {id}`"
            ),
            Phase::Complete => format!("sweep {id} is complete: {} jobs{reused}", jobs.done),
            Phase::Damaged => format!(
                "sweep {id} is damaged: it was complete, and only {} of {total} jobs have their \
                 result now. `cedm fsck --sweep {id}` names what is broken; submitting its file \
                 again, or `cedm fsck --repair`, makes it again",
                jobs.done
            ),
            Phase::Incomplete | Phase::Unreadable => format!(
                "sweep {id} ended incomplete: {} of {total} jobs are done, {} dead, {} blocked by \
                 them; see `cedm dead list`, and `cedm dead replay JOB` once the cause is fixed",
                jobs.done, jobs.dead, jobs.blocked
            ),
        }];
        lines.extend(
            self.outcome
                .answer
                .as_ref()
                .map(|answer| answer.headline.clone()),
        );
        lines
    }
}

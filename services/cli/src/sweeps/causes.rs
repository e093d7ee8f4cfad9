//! Why a sweep lacks results: one entry for each cause, not for each result.

use super::View;
use cedm_contract::JobKey;
use cedm_planner::{State, distinct};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most jobs that are named for one cause.
const NAMED: usize = 5;

/// Something that keeps results from a sweep until a person acts.
#[derive(Debug, Serialize)]
pub struct Cause {
    /// What went wrong: the first line of an error.
    pub reason: String,
    /// Labels of what failed for that reason, in the order of the plan.
    pub what: Vec<String>,
    /// Keys of those that are jobs with a key, each once.
    pub keys: Vec<JobKey>,
    /// How many further jobs need them, directly or through others.
    pub blocks: usize,
}

impl View {
    /// What keeps results from the sweep, the worst first: jobs that are dead, grouped by their
    /// error, and scores that came without a number.
    pub fn causes(&self) -> Vec<Cause> {
        let mut by_reason: BTreeMap<String, Cause> = BTreeMap::new();
        let mut reason_of: BTreeMap<&str, &str> = BTreeMap::new();
        for node in &self.jobs {
            if let State::Dead { reason } = &node.state {
                reason_of.insert(&node.id, first_line(reason));
            }
        }
        for node in distinct(&self.jobs) {
            if let Some(reason) = reason_of.get(node.id.as_str()) {
                let cause = cause_of(&mut by_reason, reason);
                cause.what.push(node.id.clone());
                cause
                    .keys
                    .extend(node.job.as_ref().map(|job| job.key.clone()));
            }
        }
        for node in &self.jobs {
            let State::Blocked { by } = &node.state else {
                continue;
            };
            let reasons: BTreeSet<&&str> = by
                .iter()
                .filter_map(|id| reason_of.get(id.as_str()))
                .collect();
            for reason in reasons {
                cause_of(&mut by_reason, reason).blocks += 1;
            }
        }
        let planned: BTreeSet<&str> = self.jobs.iter().map(|node| node.id.as_str()).collect();
        let other = self.outcome.missing.iter().filter(|missing| {
            let is_job = missing.key.is_some() || planned.contains(missing.what.as_str());
            !missing.pending && !is_job
        });
        for missing in other {
            let cause = cause_of(&mut by_reason, first_line(&missing.reason));
            cause.what.push(missing.what.clone());
        }
        let mut causes: Vec<Cause> = by_reason.into_values().collect();
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.blocks + cause.what.len()));
        causes
    }
}

fn cause_of<'a>(causes: &'a mut BTreeMap<String, Cause>, reason: &str) -> &'a mut Cause {
    causes.entry(reason.to_owned()).or_insert_with(|| Cause {
        reason: reason.to_owned(),
        what: Vec::new(),
        keys: Vec::new(),
        blocks: 0,
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl Cause {
    /// The cause in a few lines, with keys to copy.
    pub fn lines(&self) -> Vec<String> {
        let count = self.what.len();
        let head = match count {
            1 => format!("failed: {}", self.reason),
            _ => format!("failed {count} times: {}", self.reason),
        };
        let shown: Vec<&str> = self.what.iter().map(String::as_str).take(NAMED).collect();
        let more = more(count);
        let mut lines = vec![head, format!("  what  {}{more}", shown.join("; "))];
        if !self.keys.is_empty() {
            let keys: Vec<&str> = self.keys.iter().map(JobKey::short).take(NAMED).collect();
            let more = self::more(self.keys.len());
            let key = keys[0];
            lines.push(format!(
                "  jobs  {}{more}   (`cedm dead show {key}`)",
                keys.join(" ")
            ));
        }
        match self.blocks {
            0 => {}
            1 => lines.push("  one further job needs it".to_owned()),
            blocks => lines.push(format!("  {blocks} further jobs need it")),
        }
        lines
    }
}

fn more(count: usize) -> String {
    match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

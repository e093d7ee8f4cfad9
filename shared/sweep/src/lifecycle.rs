//! The lifecycle of a sweep: which phases there are, and what decides between them.
//!
//! ```text
//! submit ─► running ─► complete ─► damaged          cancel: from any phase but complete
//!            ▲  ▲  ▲      ▲          │              submit of the same file: from cancelled and
//!            │  │  └──────┼──────────┘                damaged back to running
//!            │  ▼         │
//!            │ incomplete ┘  a dead letter is replayed
//!            ▼
//!          paused            `cedm pause`, `cedm resume`
//! ```
//!
//! Objects below `sweep/<id>/` decide: the spec, and the end marks `done` and `cancelled`.
//! A sweep without an end mark is *active*: the coordinator looks after it. Only the coordinator
//! writes `done`, after it has verified the results; only `cedm cancel` writes `cancelled`. The
//! mark `paused` is no end mark: the sweep stays active, and no job of it is started.
//!
//! `cedm submit` and `cedm fsck --repair` reopen a sweep: they write `reopened-1` (then
//! `reopened-2`, …) and remove the end marks. From then on its mark is `done-1`: a coordinator that
//! verified the results before, and comes late with its mark, says nothing of the sweep as it is
//! now.

use crate::outcome::SweepState;
use cedm_contract::SweepId;
pub use cedm_contract::{CANCELLED, PAUSED, SPEC};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// More often a sweep is not reopened; a larger number in a name is somebody's invention.
const MOST_REOPENINGS: u32 = 1_000_000;

/// Name below `sweep/<id>/` of the mark that a sweep is complete, after so many reopenings.
pub fn done_name(reopenings: u32) -> String {
    numbered("done", reopenings)
}

/// Name below `sweep/<id>/` of the mark that a sweep was reopened so many times; at least 1.
pub fn reopened_name(reopenings: u32) -> String {
    numbered("reopened", reopenings)
}

fn numbered(name: &str, number: u32) -> String {
    match number {
        0 => name.to_owned(),
        _ => format!("{name}-{number}"),
    }
}

/// The number of such a name.
fn number_of(what: &str, name: &str) -> Option<u32> {
    let rest = what.strip_prefix(name)?;
    let number = match rest.strip_prefix('-') {
        None => 0,
        Some(digits) => digits.parse().ok()?,
    };
    (number <= MOST_REOPENINGS && numbered(name, number) == what).then_some(number)
}

/// Whether a sweep has an object of this name below `sweep/<id>/`; nothing reads any other.
fn is_name(what: &str) -> bool {
    [SPEC, CANCELLED, PAUSED].contains(&what)
        || number_of(what, "done").is_some()
        || number_of(what, "reopened").is_some_and(|number| number > 0)
}

/// Of the keys below `sweep/`, of all sweeps, those that nothing reads: of no sweep's name, of none
/// that was submitted, or of a name that no object of a sweep has.
pub fn strange_keys<'a>(keys: &[&'a str]) -> Vec<&'a str> {
    let marks = Marks::by_sweep(keys.iter().copied());
    let is_of_sweep = |key: &str| {
        let mut parts = key.splitn(3, '/').skip(1);
        let id = parts.next().and_then(|id| id.parse::<SweepId>().ok());
        let marks = id.and_then(|id| marks.get(&id));
        marks.is_some_and(|marks| marks.spec) && parts.next().is_some_and(is_name)
    };
    let keys = keys.iter().copied();
    keys.filter(|key| !is_of_sweep(key)).collect()
}

/// Which of a sweep's objects exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The sweep was submitted.
    pub spec: bool,
    /// The coordinator found it complete, since it was reopened last.
    pub done: bool,
    /// Somebody cancelled it (`cedm cancel`).
    pub cancelled: bool,
    /// Somebody paused it (`cedm pause`).
    pub paused: bool,
    /// How often it was reopened.
    pub reopenings: u32,
}

/// What the keys of one sweep say.
#[derive(Default)]
struct Found {
    marks: Marks,
    done: BTreeSet<u32>,
}

impl Marks {
    /// The marks of every sweep among these object keys, by name. Keys that are no sweep's are left
    /// out.
    pub fn by_sweep<'a>(keys: impl IntoIterator<Item = &'a str>) -> BTreeMap<SweepId, Self> {
        let mut found: BTreeMap<SweepId, Found> = BTreeMap::new();
        for key in keys {
            let mut parts = key.splitn(3, '/');
            let (Some("sweep"), Some(id), Some(what)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            if let Ok(id) = id.parse() {
                let Found { marks, done } = found.entry(id).or_default();
                marks.spec |= what == SPEC;
                marks.cancelled |= what == CANCELLED;
                marks.paused |= what == PAUSED;
                done.extend(number_of(what, "done"));
                let reopened = number_of(what, "reopened").unwrap_or_default();
                marks.reopenings = marks.reopenings.max(reopened);
            }
        }
        let marks = found.into_iter().map(|(id, Found { marks, done })| {
            let done = done.contains(&marks.reopenings);
            (id, Self { done, ..marks })
        });
        marks.collect()
    }

    /// Whether the coordinator looks after the sweep.
    pub fn is_active(self) -> bool {
        self.spec && !self.has_ended()
    }

    /// Whether the coordinator starts its jobs.
    pub fn starts_jobs(self) -> bool {
        self.is_active() && !self.paused
    }

    /// Whether there is an end mark.
    pub fn has_ended(self) -> bool {
        self.done || self.cancelled
    }
}

/// Where a sweep stands, for all who ask: the coordinator and every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is active: jobs can be done, or all are done and the coordinator verifies their results.
    Running,
    /// It is active, and no job of it is started until somebody resumes it.
    Paused,
    /// It is active, and nothing more can be done until a dead letter is replayed.
    Incomplete,
    /// It has ended, and every result is in its place.
    Complete,
    /// It has ended complete, and results have been lost since.
    Damaged,
    /// It was cancelled, and its queued jobs withdrawn.
    Cancelled,
    /// Its spec cannot be read, so that nothing is known of its jobs.
    Unreadable,
}

impl Phase {
    /// The phase of a sweep by its marks and the state of its jobs; `None` where the spec cannot be
    /// read.
    pub fn of(marks: Marks, jobs: Option<SweepState>) -> Self {
        match (jobs, marks) {
            (
                _,
                Marks {
                    cancelled: true, ..
                },
            ) => Phase::Cancelled,
            (None, _) => Phase::Unreadable,
            (Some(SweepState::Complete), Marks { done: true, .. }) => Phase::Complete,
            (Some(_), Marks { done: true, .. }) => Phase::Damaged,
            (Some(_), Marks { paused: true, .. }) => Phase::Paused,
            (Some(SweepState::Incomplete), _) => Phase::Incomplete,
            (Some(SweepState::Running | SweepState::Complete), _) => Phase::Running,
        }
    }

    /// Whether whoever follows the sweep need not wait any longer. A paused one may go on at any
    /// time.
    pub fn is_over(self) -> bool {
        !matches!(self, Phase::Running | Phase::Paused)
    }

    /// Whether `cedm rm` removes it: nothing of it runs, and nothing will by itself.
    pub fn can_be_removed(self) -> bool {
        matches!(self, Phase::Complete | Phase::Damaged | Phase::Cancelled)
    }

    /// Whether submitting the sweep again removes its end marks.
    pub fn reopens(self) -> bool {
        matches!(self, Phase::Damaged | Phase::Cancelled)
    }

    /// Whether `cedm cancel` ends it.
    pub fn can_be_cancelled(self) -> bool {
        !matches!(self, Phase::Complete | Phase::Cancelled)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Incomplete => "incomplete",
            Phase::Complete => "complete",
            Phase::Damaged => "damaged",
            Phase::Cancelled => "cancelled",
            Phase::Unreadable => "unreadable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: Marks = Marks {
        spec: true,
        done: false,
        cancelled: false,
        paused: false,
        reopenings: 0,
    };
    const DONE_MARK: Marks = Marks {
        done: true,
        ..ACTIVE
    };

    #[test]
    fn marks_are_read_from_object_keys() {
        let keys = [
            "sweep/a/spec",
            "sweep/b/spec",
            "sweep/b/done",
            "sweep/c/cancelled",
            "sweep/c/spec",
            "sweep/d/done",
            "sweep/a/note",
            "sweep/No Name/spec",
            "sweep/a",
            "manifest/a/spec",
        ];
        let marks = Marks::by_sweep(keys);
        let active: Vec<&str> = marks
            .iter()
            .filter(|(_, marks)| marks.is_active())
            .map(|(id, _)| id.as_str())
            .collect();
        assert_eq!(active, ["a"]);
        let ended = |id: &str| marks[&id.parse().unwrap()].has_ended();
        assert!(ended("b") && ended("c") && ended("d") && !ended("a"));
        assert_eq!(marks.len(), 4);
    }

    /// A mark from before the last reopening, however late it was written, is none.
    #[test]
    fn a_reopened_sweep_has_ended_only_by_a_mark_of_its_own_time() {
        let of = |names: &[&str]| {
            let keys: Vec<String> = names.iter().map(|name| format!("sweep/a/{name}")).collect();
            Marks::by_sweep(keys.iter().map(String::as_str))[&"a".parse().unwrap()]
        };
        for (names, done, reopenings) in [
            (&["spec", "done"][..], true, 0),
            (&["spec", "done", "reopened-1"], false, 1),
            (&["spec", "done", "reopened-1", "done-1"], true, 1),
            (&["spec", "done-1", "reopened-1", "reopened-2"], false, 2),
            (&["spec", "done-2", "reopened-2"], true, 2),
            // Ahead of its time, or no number of ours.
            (&["spec", "done-1"], false, 0),
            (&["spec", "done-0", "done-01", "done-x", "done-"], false, 0),
            (&["spec", "done", "reopened-4294967295"], true, 0),
        ] {
            let marks = of(names);
            assert_eq!(
                (marks.done, marks.reopenings),
                (done, reopenings),
                "{names:?}"
            );
        }
        for name in [
            "spec",
            "cancelled",
            "paused",
            "done",
            "done-3",
            "reopened-1",
        ] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "note", "spec-1", "done-0", "done-x", "reopened"] {
            assert!(!is_name(name), "{name}");
        }
        let keys = [
            "sweep/a/spec",
            "sweep/a/done-2",
            "sweep/a/note",
            "sweep/b/done",
            "sweep/No Name/spec",
            "sweep/a",
        ];
        assert_eq!(strange_keys(&keys), keys[2..]);
        for number in [1, 7, MOST_REOPENINGS] {
            assert_eq!(number_of(&done_name(number), "done"), Some(number));
            assert_eq!(number_of(&reopened_name(number), "reopened"), Some(number));
        }
    }

    #[test]
    fn the_end_marks_decide_before_the_jobs() {
        let cancelled = Marks {
            cancelled: true,
            ..DONE_MARK
        };
        for jobs in [
            SweepState::Running,
            SweepState::Complete,
            SweepState::Incomplete,
        ] {
            assert_eq!(Phase::of(cancelled, Some(jobs)), Phase::Cancelled);
        }
        // A sweep is complete when the coordinator says so, not when its objects seem to be there.
        assert_eq!(
            Phase::of(ACTIVE, Some(SweepState::Complete)),
            Phase::Running
        );
        assert_eq!(
            Phase::of(DONE_MARK, Some(SweepState::Complete)),
            Phase::Complete
        );
        // And what was lost afterwards shows: it does not run again by itself.
        assert_eq!(
            Phase::of(DONE_MARK, Some(SweepState::Running)),
            Phase::Damaged
        );
        assert_eq!(
            Phase::of(ACTIVE, Some(SweepState::Incomplete)),
            Phase::Incomplete
        );
    }

    /// A pause holds a sweep that runs, and changes nothing of one that has ended.
    #[test]
    fn a_paused_sweep_is_active_and_starts_no_job() {
        let paused = Marks {
            paused: true,
            ..ACTIVE
        };
        assert!(paused.is_active() && !paused.starts_jobs() && ACTIVE.starts_jobs());
        for jobs in [SweepState::Running, SweepState::Incomplete] {
            assert_eq!(Phase::of(paused, Some(jobs)), Phase::Paused);
        }
        let over = Marks {
            paused: true,
            ..DONE_MARK
        };
        assert_eq!(Phase::of(over, Some(SweepState::Complete)), Phase::Complete);
        assert_eq!(Phase::of(paused, None), Phase::Unreadable);
        let read = Marks::by_sweep(["sweep/a/spec", "sweep/a/paused", "sweep/b/paused-1"]);
        assert!(read[&"a".parse().unwrap()].paused && !read[&"b".parse().unwrap()].paused);
        let phase = Phase::Paused;
        assert!(!phase.is_over() && phase.can_be_cancelled() && !phase.can_be_removed());
    }

    #[test]
    fn a_sweep_that_cannot_be_read_can_be_cancelled_and_ends_a_watch() {
        let phase = Phase::of(ACTIVE, None);
        assert_eq!(phase, Phase::Unreadable);
        assert!(phase.is_over() && phase.can_be_cancelled() && !phase.reopens());
        let cancelled = Marks {
            cancelled: true,
            ..ACTIVE
        };
        assert_eq!(Phase::of(cancelled, None), Phase::Cancelled);
    }
}

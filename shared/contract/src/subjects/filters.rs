//! Filters over subjects, with the broker's wildcards: `*` is one token, `>` is all that follow.

use crate::{EventWhat, JobKey, Kind, Priority};
use std::fmt::Display;

/// Every queued job.
pub const JOBS: &str = "cedm.job.>";
/// Every retry that waits for its time.
pub const DELAYS: &str = "cedm.delay.>";
/// Every retry whose time has come.
pub const DUE: &str = "cedm.due.>";
/// Every dead letter.
pub const DEAD: &str = "cedm.dead.>";
/// Every event of a job, whatever its kind.
pub const EVENTS: &str = "cedm.evt.>";

/// A token, or the wildcard where none is asked for.
fn any<T: Display>(token: Option<T>) -> String {
    token.map_or_else(|| "*".to_owned(), |token| token.to_string())
}

/// The queued jobs of one kind, or of all.
pub fn jobs_of(kind: Option<Kind>) -> String {
    format!("cedm.job.{}.>", any(kind))
}
/// The queued jobs of one lane: what its consumer delivers.
pub fn lane(kind: Kind, priority: Priority) -> String {
    format!("cedm.job.{kind}.{priority}.>")
}
/// Where the job with this key may be queued, whatever its priority.
pub fn queued(kind: Kind, key: &JobKey) -> String {
    format!("cedm.job.{kind}.*.{key}")
}
/// The retries of one kind that wait for their time.
pub fn delays_of(kind: Kind) -> String {
    format!("cedm.delay.{kind}.>")
}
/// The retries of one kind, or of all, that wait or are due.
pub fn retries_of(kind: Option<Kind>) -> String {
    format!("cedm.*.{}.>", any(kind))
}
/// Where a retry of the job with this key may wait or be due, whatever its priority.
pub fn retried(kind: Kind, key: &JobKey) -> String {
    format!("cedm.*.{kind}.*.{key}")
}
/// The events of one kind.
pub fn events_of(kind: Kind) -> String {
    format!("cedm.evt.{kind}.>")
}
/// The events that match all that is set.
pub fn events(kind: Option<Kind>, what: Option<EventWhat>, key: Option<&JobKey>) -> String {
    format!("cedm.evt.{}.{}.{}", any(kind), any(what), any(key))
}
/// The dead letters of one kind.
pub fn dead_of_kind(kind: Kind) -> String {
    format!("cedm.dead.{kind}.>")
}
/// The dead letters of one job, below whatever kind.
pub fn dead_of(key: &JobKey) -> String {
    format!("cedm.dead.*.{key}")
}

/// Whether a filter of this module that ends in `>` takes a subject.
pub fn takes(filter: &str, subject: &str) -> bool {
    filter
        .strip_suffix('>')
        .is_some_and(|prefix| subject.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dead_subject, event_subject, job_subject};

    #[test]
    fn a_filter_takes_the_subjects_it_is_named_for() {
        let key = JobKey::of(b"x");
        let job = job_subject(Kind::Fit, Priority::P1, &key);
        assert!(takes(JOBS, &job) && takes(&lane(Kind::Fit, Priority::P1), &job));
        assert!(!takes(DELAYS, &job) && !takes(&lane(Kind::Fit, Priority::P0), &job));
        assert!(takes(DEAD, &dead_subject(Kind::Fit, &key)));
        let event = event_subject(Kind::Fit, EventWhat::Done, &key);
        assert_eq!(
            events(Some(Kind::Fit), Some(EventWhat::Done), Some(&key)),
            event
        );
        assert_eq!(events(None, None, None), "cedm.evt.*.*.*");
        assert_eq!(jobs_of(None), "cedm.job.*.>");
        assert!(!takes(&queued(Kind::Fit, &key), &job), "no prefix");
    }
}

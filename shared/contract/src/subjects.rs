//! Subjects and stream names.

use crate::{ContractError, EventWhat, JobKey, Kind, Priority};

/// Work queue of jobs.
pub const JOBS_STREAM: &str = "JOBS";
/// Retries that wait for their time.
pub const DELAYS_STREAM: &str = "DELAYS";
/// Events, kept for days to weeks.
pub const EVENTS_STREAM: &str = "EVENTS";
/// The broker's advisories about jobs it gave up on.
pub const ADVISORIES_STREAM: &str = "ADVISORIES";
/// Dead letters: jobs that will not be tried again by themselves.
pub const DEAD_STREAM: &str = "DEAD";

/// `cedm.job.<kind>.<p0,p1,p2>.<key>`: the key is the last token, so that the stream holds one
/// outstanding job per key.
pub fn job_subject(kind: Kind, priority: Priority, key: &JobKey) -> String {
    format!("cedm.job.{kind}.{priority}.{key}")
}
/// `cedm.delay.<kind>.<p>.<key>`: where a scheduled retry waits.
pub fn delay_subject(kind: Kind, priority: Priority, key: &JobKey) -> String {
    format!("cedm.delay.{kind}.{priority}.{key}")
}
/// `cedm.due.<kind>.<p>.<key>`: where the server puts a retry whose time has come.
pub fn due_subject(kind: Kind, priority: Priority, key: &JobKey) -> String {
    format!("cedm.due.{kind}.{priority}.{key}")
}
/// Subject of an event: `cedm.evt.<kind>.<what>.<key>`.
pub fn event_subject(kind: Kind, what: EventWhat, key: &JobKey) -> String {
    format!("cedm.evt.{kind}.{what}.{key}")
}
/// Subject of a dead letter: `cedm.dead.<kind>.<key>`.
pub fn dead_subject(kind: Kind, key: &JobKey) -> String {
    format!("cedm.dead.{kind}.{key}")
}
/// Kind, priority and key of a job, delay or due subject.
///
/// # Errors
/// [`ContractError::Malformed`] when the subject is none of them.
pub fn parse_job_subject(subject: &str) -> Result<(Kind, Priority, JobKey), ContractError> {
    let malformed = || ContractError::Malformed {
        what: "job subject",
        found: subject.chars().take(120).collect(),
        expected: "cedm.job.<kind>.<priority>.<key>",
    };
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens[..] {
        ["cedm", "job" | "delay" | "due", kind, priority, key] => {
            Ok((kind.parse()?, priority.parse()?, key.parse()?))
        }
        _ => Err(malformed()),
    }
}

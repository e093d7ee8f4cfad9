//! Subjects and stream names, and what an installation's prefix makes of them on the wire.
//!
//! Inside the programs a subject begins with `cedm.` and a stream is called `JOBS`, whatever the
//! installation. The broker sees both with the installation's prefix: [`Names`] translates where a
//! message enters or leaves.

pub mod filters;

use crate::{ContractError, EventWhat, JobKey, Kind, Priority};
use std::{fmt, str::FromStr};

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

/// First token of every subject inside the programs.
const ROOT: &str = "cedm";
/// Longest prefix of an installation, in characters.
const LONGEST_PREFIX: usize = 32;

/// What the streams, buckets and subjects of one installation are called on the wire. Several
/// installations with different prefixes can share a NATS account: none has a stream, a bucket or a
/// subject of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(String);

impl Default for Names {
    /// Those of the prefix `cedm`.
    fn default() -> Self {
        Self(ROOT.to_owned())
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Names {
    type Err = ContractError;

    /// The names with this prefix: lower-case letters, digits, `-` and `_`, a letter first.
    fn from_str(prefix: &str) -> Result<Self, ContractError> {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if prefix.len() <= LONGEST_PREFIX
            && prefix.starts_with(|c: char| c.is_ascii_lowercase())
            && prefix.chars().all(is_allowed)
        {
            return Ok(Self(prefix.to_owned()));
        }
        Err(ContractError::Malformed {
            what: "prefix of streams and subjects",
            found: prefix.chars().take(120).collect(),
            expected: "at most 32 lower-case letters, digits, - and _, a letter first",
        })
    }
}

impl Names {
    /// The prefix: the first token of every subject on the wire.
    pub fn prefix(&self) -> &str {
        &self.0
    }
    /// A stream as the broker knows it: `CEDM_JOBS` for `JOBS`.
    pub fn stream(&self, name: &str) -> String {
        format!("{}_{name}", self.0.to_ascii_uppercase())
    }
    /// A key-value bucket as the broker knows it: `CEDM_leases` for `leases`. Its stream is called
    /// the same behind `KV_`.
    pub fn bucket(&self, name: &str) -> String {
        self.stream(name)
    }
    /// A subject of the programs, or a filter of such, as the broker knows it.
    pub fn to_wire(&self, subject: &str) -> String {
        match subject.strip_prefix(ROOT) {
            Some(rest) if rest.starts_with('.') => format!("{}{rest}", self.0),
            _ => subject.to_owned(),
        }
    }
    /// The programs' name of a subject on the wire. One of another installation is none of theirs,
    /// and is made to look like none.
    pub fn from_wire(&self, subject: &str) -> String {
        match subject.strip_prefix(&self.0) {
            Some(rest) if rest.starts_with('.') => format!("{ROOT}{rest}"),
            _ if subject.starts_with(ROOT) => format!("other:{subject}"),
            _ => subject.to_owned(),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_streams_buckets_and_subjects_and_no_others() {
        let standard = Names::default();
        assert_eq!(standard.stream(JOBS_STREAM), "CEDM_JOBS");
        assert_eq!(standard.bucket("leases"), "CEDM_leases");
        let other: Names = "team-2".parse().unwrap();
        assert_eq!(other.stream(JOBS_STREAM), "TEAM-2_JOBS");
        for subject in ["cedm.job.fit.p1.x", "cedm.*.fit.>", "_INBOX.x"] {
            for names in [&standard, &other] {
                assert_eq!(names.from_wire(&names.to_wire(subject)), subject);
            }
        }
        assert_eq!(other.to_wire("cedm.evt.>"), "team-2.evt.>");
        // Two installations never take each other's messages for their own.
        assert!(!other.from_wire("cedm.due.fit.p1.x").starts_with("cedm."));
        assert_eq!(standard.from_wire("cedm2.job.x"), "other:cedm2.job.x");
    }

    #[test]
    fn a_prefix_is_one_token() {
        for bad in ["", "2a", "a.b", "A", "a b", "a*", ">", &"a".repeat(33)] {
            let error = bad.parse::<Names>().unwrap_err().to_string();
            assert!(error.contains("lower-case"), "{error}");
        }
    }
}

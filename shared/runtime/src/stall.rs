//! When a job counts as stalled: no sign of progress for longer than its kind may be silent.
//!
//! A compute thread that hangs (a driver that does not answer, a deadlock, a debugger) cannot be
//! ended from within its process. So the attempt is failed, and the process exits for its
//! supervisor to start another.

use crate::connect::seconds;
use cedm_contract::{JobKey, Kind};
use std::{fmt, str::FromStr, time::Duration};

/// Least time that a transfer from or to the store may take, whatever the kind: its requests have
/// time-outs of their own, and an object may be large.
pub(crate) const LONGEST_TRANSFER: Duration = Duration::from_secs(3600);

/// How long jobs of this kind may show no progress.
pub(crate) fn default_limit(kind: Kind) -> Duration {
    Duration::from_secs(kind.stall_after_s())
}

/// How long jobs of one kind, or of all kinds, may show no progress: `train=600`, or `900`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallLimit {
    kind: Option<Kind>,
    after: Duration,
}

impl FromStr for StallLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, after) = match text.split_once('=') {
            None => (None, text),
            Some((kind, after)) => (Some(queued_kind(kind.trim())?), after.trim()),
        };
        let after = seconds(after)?;
        if after.is_zero() {
            return Err(format!("`{text}`: expected more than 0 seconds"));
        }
        Ok(Self { kind, after })
    }
}

fn queued_kind(name: &str) -> Result<Kind, String> {
    let mut kinds = Kind::ALL.iter().filter(|kind| kind.is_queued());
    kinds
        .find(|kind| kind.token() == name)
        .copied()
        .ok_or_else(|| {
            let queued = Kind::ALL.iter().filter(|kind| kind.is_queued());
            let names: Vec<&str> = queued.map(|kind| kind.token()).collect();
            format!(
                "unknown kind of job `{name}`: expected one of {}",
                names.join(", ")
            )
        })
}

/// The limits in force: those given, in place of the defaults.
#[derive(Debug, Clone, Default)]
pub(crate) struct StallLimits(Vec<StallLimit>);

impl StallLimits {
    pub(crate) fn new(given: &[StallLimit]) -> Self {
        Self(given.to_vec())
    }

    /// How long a job of this kind may show no progress. A limit of the kind comes before one of
    /// all kinds, and a later one before an earlier one.
    pub(crate) fn of(&self, kind: Kind) -> Duration {
        let given = |wanted: Option<Kind>| {
            let mut found = self.0.iter().rev().filter(|limit| limit.kind == wanted);
            found.next().map(|limit| limit.after)
        };
        given(Some(kind))
            .or_else(|| given(None))
            .unwrap_or_else(|| default_limit(kind))
    }
}

/// A job that has shown no progress for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// Key of the job.
    pub key: JobKey,
    /// Kind of the job.
    pub kind: Kind,
    /// How long it has shown no progress.
    pub silent: Duration,
    /// How long jobs of its kind may show none.
    pub limit: Duration,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (silent, limit) = (self.silent.as_secs_f64(), self.limit.as_secs_f64());
        write!(
            f,
            "{} job {} has shown no progress for {silent:.0} s, at most {limit} s are allowed \
             (CEDM_STALL_AFTER_S)",
            self.kind,
            self.key.short()
        )
    }
}

impl std::error::Error for Stall {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_kind_come_before_those_of_all() {
        let parsed: Vec<StallLimit> = ["900", "train=600", "fit=2.5", "train=700"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let limits = StallLimits::new(&parsed);
        let of = |kind| limits.of(kind).as_secs_f64();
        assert_eq!(
            (of(Kind::Train), of(Kind::Fit), of(Kind::Score)),
            (700.0, 2.5, 900.0)
        );
        assert_eq!(
            StallLimits::default().of(Kind::Train),
            default_limit(Kind::Train)
        );
    }

    #[test]
    fn the_documented_limits_are_those_in_force() {
        let text = include_str!("../../../deploy/README.md");
        let (_, section) = text.split_once("\n## Jobs that hang\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        for kind in Kind::ALL.iter().filter(|kind| kind.is_queued()) {
            let mut rows = section.lines().filter(|line| line.starts_with('|'));
            let named = rows.clone().find(|row| row.contains(&format!("`{kind}`")));
            let row = named
                .or_else(|| rows.find(|row| row.contains("every other")))
                .unwrap();
            let limit = default_limit(*kind).as_secs();
            assert!(row.ends_with(&format!("| {limit} |")), "{kind}: {row}");
        }
    }

    #[test]
    fn a_wrong_limit_says_what_is_expected() {
        for (text, says) in [
            ("painting=5", "expected one of adapt, fit, "),
            ("train=soon", "`soon` is not a number of seconds"),
            ("train=0", "expected more than 0 seconds"),
            ("report=5", "unknown kind of job `report`"),
        ] {
            let error = text.parse::<StallLimit>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}

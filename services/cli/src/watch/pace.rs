//! How fast a job is and how long it still takes, from what its worker reports.

use std::time::Duration;

/// Weight of the newest measurement in the running rate.
const NEWEST: f64 = 0.3;

/// The pace of one attempt.
#[derive(Clone, Debug)]
pub struct Pace {
    at_ms: u64,
    done: u64,
    rate: Option<f64>,
}

impl Pace {
    /// The pace of an attempt that has done this much; a resumed one starts above zero.
    pub fn from(at_ms: u64, done: u64) -> Self {
        Self {
            at_ms,
            done,
            rate: None,
        }
    }
    /// Takes a report in. One that goes back (a new attempt from an earlier checkpoint) starts
    /// afresh.
    pub fn report(&mut self, at_ms: u64, done: u64) {
        if done < self.done {
            *self = Self::from(at_ms, done);
            return;
        }
        if at_ms <= self.at_ms || done == self.done {
            return;
        }
        let newest = (done - self.done) as f64 * 1000.0 / (at_ms - self.at_ms) as f64;
        self.rate = Some(
            self.rate
                .map_or(newest, |rate| rate + NEWEST * (newest - rate)),
        );
        (self.at_ms, self.done) = (at_ms, done);
    }
    /// Units per second; `None` before the second report.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }
    /// Time to `total` at this pace.
    pub fn left(&self, total: u64) -> Option<Duration> {
        let rate = self.rate.filter(|rate| *rate > 0.0)?;
        (total > self.done).then(|| Duration::from_secs_f64((total - self.done) as f64 / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_job_ends_when_it_says() {
        let mut pace = Pace::from(1_000, 0);
        assert_eq!(pace.left(100), None);
        for second in 1..=5 {
            pace.report(1_000 + second * 1_000, second * 10);
        }
        assert!((pace.rate().unwrap() - 10.0).abs() < 1e-9);
        assert_eq!(pace.left(100), Some(Duration::from_secs(5)));
        assert_eq!(pace.left(50), None);
    }

    #[test]
    fn a_resumed_attempt_counts_from_its_checkpoint() {
        let mut pace = Pace::from(0, 500);
        pace.report(1_000, 510);
        assert!((pace.rate().unwrap() - 10.0).abs() < 1e-9);
        pace.report(2_000, 400); // another worker, from the last checkpoint
        assert_eq!(pace.rate(), None);
        pace.report(3_000, 420);
        assert!((pace.rate().unwrap() - 20.0).abs() < 1e-9);
    }
}

//! The rate of a job and its remaining time, estimated from its progress events.

use std::time::Duration;

/// Weight of the newest measurement in the exponential mean.
const NEWEST_WEIGHT: f64 = 0.3;

/// The rate of one attempt.
#[derive(Clone, Debug)]
pub struct RateEstimate {
    at_ms: u64,
    done: u64,
    rate: Option<f64>,
}

impl RateEstimate {
    /// An estimate for an attempt that has done this much; one that resumes from a checkpoint
    /// starts above zero.
    pub fn starting_at(at_ms: u64, done: u64) -> Self {
        Self {
            at_ms,
            done,
            rate: None,
        }
    }
    /// Records progress. When it goes back (a new attempt from an earlier checkpoint), the estimate
    /// starts over.
    pub fn record(&mut self, at_ms: u64, done: u64) {
        if done < self.done {
            *self = Self::starting_at(at_ms, done);
            return;
        }
        if at_ms <= self.at_ms || done == self.done {
            return;
        }
        let newest = (done - self.done) as f64 * 1000.0 / (at_ms - self.at_ms) as f64;
        self.rate = Some(
            self.rate
                .map_or(newest, |rate| rate + NEWEST_WEIGHT * (newest - rate)),
        );
        (self.at_ms, self.done) = (at_ms, done);
    }
    /// Units per second; `None` before the second record.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }
    /// Time until `total` units are done at this rate.
    pub fn time_left(&self, total: u64) -> Option<Duration> {
        let rate = self.rate.filter(|rate| *rate > 0.0)?;
        (total > self.done).then(|| Duration::from_secs_f64((total - self.done) as f64 / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_of_a_steady_job_is_exact() {
        let mut estimate = RateEstimate::starting_at(1_000, 0);
        assert_eq!(estimate.time_left(100), None);
        for second in 1..=5 {
            estimate.record(1_000 + second * 1_000, second * 10);
        }
        assert!((estimate.rate().unwrap() - 10.0).abs() < 1e-9);
        assert_eq!(estimate.time_left(100), Some(Duration::from_secs(5)));
        assert_eq!(estimate.time_left(50), None);
    }

    #[test]
    fn a_resumed_attempt_counts_from_its_checkpoint() {
        let mut estimate = RateEstimate::starting_at(0, 500);
        estimate.record(1_000, 510);
        assert!((estimate.rate().unwrap() - 10.0).abs() < 1e-9);
        estimate.record(2_000, 400); // another worker, from the last checkpoint
        assert_eq!(estimate.rate(), None);
        estimate.record(3_000, 420);
        assert!((estimate.rate().unwrap() - 20.0).abs() < 1e-9);
    }
}

//! The broker's time, by which delays are reckoned: the broker starts a retry when its own clock
//! says so, and the clock of a worker may be wrong by minutes. How far this process's clock is off
//! is measured, shown and warned of.

use crate::{Connection, Metrics, error::chain, metrics::process::CLOCK_SKEW};
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};
use time::OffsetDateTime;

/// Time between two measurements of the clock.
const INTERVAL: Duration = Duration::from_secs(30);
/// From so many milliseconds on a clock is called wrong. NTP keeps clocks within a few.
pub const CLOCK_SKEW_LIMIT_MS: i64 = 5_000;

/// Stands for "not measured yet".
const UNKNOWN: i64 = i64::MIN;
/// By how many milliseconds this process's clock is ahead of the broker's.
static SKEW_MS: AtomicI64 = AtomicI64::new(UNKNOWN);

/// The answer to one question for the broker's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// This process's time when it asked.
    pub sent: OffsetDateTime,
    /// The broker's time when it answered.
    pub broker: OffsetDateTime,
    /// This process's time when the answer was there.
    pub received: OffsetDateTime,
}

impl Reading {
    /// By how much this process's clock is ahead of the broker's, as far as the time that the
    /// answer took allows to say: the broker's clock was read at some moment in between.
    pub fn skew(&self) -> time::Duration {
        let (least, most) = (self.sent - self.broker, self.received - self.broker);
        if least > time::Duration::ZERO {
            least
        } else if most < time::Duration::ZERO {
            most
        } else {
            time::Duration::ZERO
        }
    }
}

/// By how many milliseconds this process's clock is ahead of the broker's, negative when behind;
/// `None` until it was measured.
pub(crate) fn skew_ms() -> Option<i64> {
    Some(SKEW_MS.load(Ordering::Relaxed)).filter(|skew| *skew != UNKNOWN)
}

/// Measures it now.
///
/// # Errors
/// When NATS fails.
pub async fn clock_skew_ms(connection: &Connection) -> Result<i64, crate::RuntimeError> {
    let skew = connection.queue.clock().await?.skew();
    let skew = i64::try_from(skew.whole_milliseconds()).unwrap_or(i64::MAX);
    SKEW_MS.store(skew, Ordering::Relaxed);
    Ok(skew)
}

/// A sentence about a clock that is wrong; `None` about one that is right.
pub fn clock_warning(skew_ms: i64) -> Option<String> {
    if skew_ms.abs() < CLOCK_SKEW_LIMIT_MS {
        return None;
    }
    let direction = if skew_ms > 0 { "ahead of" } else { "behind" };
    let seconds = skew_ms.unsigned_abs() as f64 / 1000.0;
    Some(format!(
        "its clock is {seconds:.0} s {direction} the broker's: set it by NTP. Delays follow the \
         broker's clock; the times in its events and results are wrong"
    ))
}

/// Keeps the gauge up to date, and warns when the clock becomes wrong, until dropped.
pub(crate) async fn watch(connection: Connection, metrics: Metrics) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut warned = false;
    loop {
        tick.tick().await;
        match clock_skew_ms(&connection).await {
            Ok(skew_ms) => {
                metrics.set(&CLOCK_SKEW, skew_ms as f64 / 1000.0);
                let warning = clock_warning(skew_ms);
                if let Some(warning) = &warning
                    && !warned
                {
                    tracing::warn!(skew_ms, "{warning}");
                }
                warned = warning.is_some();
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the broker's time cannot be read")
            }
        }
    }
}

/// This process's own time.
pub(crate) fn local() -> OffsetDateTime {
    OffsetDateTime::from(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_answer_is_no_skew() {
        let at = |seconds: i64| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds);
        for (sent, broker, received, expect) in [
            (100, 100, 100, 0),
            (100, 103, 106, 0),
            // Twenty minutes ahead.
            (1300, 100, 1301, 1200),
            // Behind; the answer took a second, which may have passed after the broker's look.
            (100, 1300, 101, -1199),
        ] {
            let reading = Reading {
                sent: at(sent),
                broker: at(broker),
                received: at(received),
            };
            assert_eq!(reading.skew().whole_seconds(), expect, "{reading:?}");
        }
    }

    #[test]
    fn only_a_wrong_clock_is_warned_of() {
        assert_eq!(clock_warning(0), None);
        assert_eq!(clock_warning(-4_999), None);
        assert!(
            clock_warning(1_200_000)
                .unwrap()
                .contains("1200 s ahead of")
        );
        assert!(clock_warning(-5_000).unwrap().contains("5 s behind"));
    }
}

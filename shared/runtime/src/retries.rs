//! When to try again: one policy type for every wait between a failure and the next try.

use crate::{error::chain, worker_name};
use std::{error::Error, future::Future, iter, time::Duration};
use tokio::time::{Instant, sleep};

/// After this many doublings a delay grows no further, whatever its limit.
const MOST_DOUBLINGS: u32 = 16;
/// How often a wait that lasts says what it waits for.
const REMINDER: Duration = Duration::from_secs(15);

/// How long to wait after each failure, and when to give up. A value, made by `const` functions:
///
/// ```
/// use cedm_runtime::RetryPolicy;
/// use std::time::Duration;
///
/// const STORE: RetryPolicy =
///     RetryPolicy::doubling(Duration::from_millis(100), Duration::from_secs(1)).at_most(5);
/// let delays = (1..5).map(|failures| STORE.delay(failures).as_millis());
/// assert_eq!(delays.collect::<Vec<_>>(), [100, 200, 400, 800]);
/// assert_eq!(STORE.delays(b"some object").count(), 4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    first: Duration,
    longest: Duration,
    tries: Option<u32>,
    within: Option<Duration>,
}

impl RetryPolicy {
    /// A delay that doubles from failure to failure up to `longest`, without an end.
    pub const fn doubling(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            tries: None,
            within: None,
        }
    }

    /// Gives up after so many tries, the first one included.
    pub const fn at_most(mut self, tries: u32) -> Self {
        self.tries = Some(tries);
        self
    }

    /// Gives up at the first failure after this time.
    pub const fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// How long to wait after so many failures in a row (at least 1).
    pub fn delay(&self, failures: u64) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1))
            .unwrap_or(u32::MAX)
            .min(MOST_DOUBLINGS);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// The same, up to a tenth more or less. The deviation is derived from `seed`: waits for
    /// different things differ, and a repeated run waits as long as before.
    pub fn delay_with_jitter(&self, failures: u64, seed: &[u8]) -> Duration {
        let jitter = blake3::hash(seed).as_bytes()[0];
        self.delay(failures)
            .mul_f64(0.9 + 0.2 * f64::from(jitter) / 255.0)
    }

    /// The delays between the tries, in order, with the jitter of `seed`; ends when no try is left.
    pub fn delays(&self, seed: &[u8]) -> impl Iterator<Item = Duration> + use<> {
        let (policy, seed) = (*self, blake3::hash(seed));
        let mut failures = 0_u64;
        iter::from_fn(move || {
            failures += 1;
            let is_over = policy
                .tries
                .is_some_and(|tries| failures >= u64::from(tries));
            let seed = [&seed.as_bytes()[..], &failures.to_le_bytes()].concat();
            (!is_over).then(|| policy.delay_with_jitter(failures, &seed))
        })
    }

    /// Tries until `attempt` succeeds, until it fails in a way that `is_retryable` denies, or until
    /// the policy gives up, with a last try when its time is over. Delays have the jitter of this
    /// process: those that wait for the same server do not ask at the same moments. `what` names
    /// the attempt in the log, at the first failure and again while it lasts.
    ///
    /// # Errors
    /// The error of the last try.
    pub async fn retry<T, E, F>(
        &self,
        what: &str,
        mut is_retryable: impl FnMut(&E) -> bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, E>
    where
        E: Error,
        F: Future<Output = Result<T, E>>,
    {
        let begun = Instant::now();
        let mut delays = self.delays(format!("{} {what}", worker_name()).as_bytes());
        let mut said: Option<Instant> = None;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let waited = begun.elapsed();
            let left = self.within.map(|limit| limit.saturating_sub(waited));
            if left == Some(Duration::ZERO) || !is_retryable(&error) {
                return Err(error);
            }
            let Some(delay) = delays.next() else {
                return Err(error);
            };
            // A line now and then, not one per try.
            match said {
                None => {
                    said = Some(Instant::now());
                    tracing::info!(error = %chain(&error), "{what} failed, retrying");
                }
                Some(at) if at.elapsed() >= REMINDER => {
                    said = Some(Instant::now());
                    let waited_s = waited.as_secs();
                    tracing::info!(error = %chain(&error), waited_s, "still trying: {what}");
                }
                Some(_) => tracing::debug!(error = %chain(&error), "{what} still fails"),
            }
            sleep(left.map_or(delay, |left| delay.min(left))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, io};

    const SECOND: Duration = Duration::from_secs(1);

    /// Fails `failures` times; how many tries were made, the answer, and the virtual seconds it
    /// took.
    async fn tried(policy: RetryPolicy, failures: u32) -> (u32, Result<u32, String>, f64) {
        let is_retryable = |error: &io::Error| !error.to_string().ends_with('9');
        let (count, begun) = (Cell::new(0), Instant::now());
        let attempt = || async {
            count.set(count.get() + 1);
            if count.get() > failures {
                Ok(count.get())
            } else {
                Err(io::Error::other(format!("failure {}", count.get())))
            }
        };
        let answer = policy.retry("test", is_retryable, attempt).await;
        let answer = answer.map_err(|error| error.to_string());
        (count.get(), answer, begun.elapsed().as_secs_f64())
    }

    #[tokio::test(start_paused = true)]
    async fn tries_again_until_it_succeeds() {
        let (tries, answer, seconds) = tried(RetryPolicy::doubling(SECOND, SECOND), 5).await;
        assert_eq!((tries, answer), (6, Ok(6)));
        assert!((4.5..5.6).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_the_tries_allowed_with_the_last_error() {
        let policy = RetryPolicy::doubling(SECOND, 4 * SECOND).at_most(5);
        let (tries, answer, seconds) = tried(policy, 100).await;
        assert_eq!((tries, answer), (5, Err("failure 5".to_owned())));
        let expected = 1.0 + 2.0 + 4.0 + 4.0;
        assert!(
            (0.9 * expected..1.1 * expected + 0.1).contains(&seconds),
            "{seconds} s, expected {expected}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_when_the_time_is_over() {
        let policy = RetryPolicy::doubling(SECOND, 60 * SECOND).within(20 * SECOND);
        let (tries, answer, seconds) = tried(policy, 100).await;
        // After about 0, 1, 3, 7 and 15 seconds, and once more at the end.
        assert_eq!((tries, answer), (6, Err("failure 6".to_owned())));
        assert!((20.0..20.1).contains(&seconds), "{seconds}");
    }

    /// Whoever waits learns for what, at the start and every so often, and not at every try.
    #[tokio::test(start_paused = true)]
    async fn a_wait_that_lasts_says_so_now_and_then() {
        let lines = crate::testing::Lines::default();
        let policy = RetryPolicy::doubling(10 * SECOND, 10 * SECOND).within(60 * SECOND);
        let logged = lines.clone();
        let _guard = tracing::subscriber::set_default(
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::INFO)
                .with_ansi(false)
                .with_writer(move || logged.clone())
                .finish(),
        );
        tried(policy, u32::MAX).await.1.unwrap_err();
        let text = lines.text();
        assert!(text.contains("test failed, retrying"), "{text}");
        assert!(
            text.contains("still trying: test") && text.contains("waited_s="),
            "{text}"
        );
        let said = text.lines().count();
        assert!((3..=4).contains(&said), "{said} lines of 7 tries:\n{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_is_final_ends_it_at_once() {
        let (tries, answer, _) = tried(RetryPolicy::doubling(SECOND, SECOND), 100).await;
        assert_eq!((tries, answer), (9, Err("failure 9".to_owned())));
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let policy = RetryPolicy::doubling(5 * SECOND, 600 * SECOND);
        for (failures, expect) in [
            (0, 5),
            (1, 5),
            (2, 10),
            (3, 20),
            (8, 600),
            (30, 600),
            (u64::MAX, 600),
        ] {
            assert_eq!(policy.delay(failures), expect * SECOND, "{failures}");
        }
        let zero = RetryPolicy::doubling(Duration::ZERO, SECOND);
        assert_eq!(zero.delay(40), Duration::ZERO);
    }

    #[test]
    fn jitter_is_a_tenth_at_most_and_the_same_for_the_same_seed() {
        let policy = RetryPolicy::doubling(10 * SECOND, 10 * SECOND);
        let of = |seed: &str| policy.delay_with_jitter(1, seed.as_bytes()).as_secs_f64();
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
        for seed in 0..100 {
            assert!((9.0..=11.0).contains(&of(&seed.to_string())));
        }
        // Two that wait for the same do so at different moments, from the first delay on.
        let all = |seed: &[u8]| policy.at_most(9).delays(seed).collect::<Vec<_>>();
        let (one, other) = (all(b"one"), all(b"other"));
        assert_eq!((one.len(), other.len()), (8, 8));
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    }
}

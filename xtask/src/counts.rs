//! How many tests ran, read off the output of `cargo test` and `cedm-parity`.

use std::fmt;

/// Totals over everything that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestCounts {
    /// Tests that ran and passed.
    pub passed: u64,
    /// Tests that ran and failed.
    pub failed: u64,
    /// Could not run here, and said so.
    pub skipped: u64,
}

impl TestCounts {
    /// Counts one line of output: a summary, or a skip that a test printed.
    pub fn read(&mut self, line: &str) {
        if line.trim_start().starts_with("SKIPPED:") {
            // libtest knows no skip at run time: the test counts as passed in its summary.
            self.skipped += 1;
            self.passed = self.passed.wrapping_sub(1);
        } else if let Some(rest) = line.strip_prefix("test result:") {
            self.passed = self.passed.wrapping_add(number_before(rest, " passed"));
            self.failed += number_before(rest, " failed");
            self.skipped += number_before(rest, " ignored");
        } else if let Some(rest) = line.strip_prefix("parity:") {
            self.passed = self.passed.wrapping_add(number_before(rest, " passed"));
            self.failed += number_before(rest, " failed") + number_before(rest, " not recognised");
        }
    }
}
impl fmt::Display for TestCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The number that stands before `word`; 0 where there is none.
fn number_before(text: &str, word: &str) -> u64 {
    let Some(end) = text.find(word) else { return 0 };
    let digits = text[..end]
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or("");
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expect: &str) {
        let mut counts = TestCounts::default();
        lines.iter().for_each(|line| counts.read(line));
        assert_eq!(counts.to_string(), expect);
    }

    #[test]
    fn summaries_are_added_up() {
        check(
            &[
                "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
                 finished in 0.00s",
                "test a::b ... ok",
                "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; \
                 finished in 1.20s",
                "parity: 240 passed, 1 failed, 2 not recognised, below fixtures",
            ],
            "257 passed, 6 failed, 1 skipped",
        );
    }
    #[test]
    fn a_skip_is_no_pass() {
        check(
            &[
                "SKIPPED: no browser here",
                "test result: ok. 2 passed; 0 failed; 0 ignored;",
            ],
            "1 passed, 0 failed, 1 skipped",
        );
    }
}

//! Every error of a sweep file names line and column, and says what was expected.

#![forbid(unsafe_code)]

#[path = "sweep_file_errors/clusterings.rs"]
mod clusterings;
#[path = "sweep_file_errors/scores.rs"]
mod scores;
#[path = "sweep_file_errors/syntax.rs"]
mod syntax;
#[path = "sweep_file_errors/training.rs"]
mod training;

use cedm_sweep::SweepSpec;

const GOOD: &str = include_str!("good_sweep.toml");

/// One invalid file, `(from, to, on, says)`: the good file with `from` replaced by `to`. The error
/// must be on a line that contains `on`, and its message must contain `says`.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// How the error of an invalid file differs from what is expected, if it does.
fn complaint((from, to, on, says): Case) -> Option<String> {
    assert!(GOOD.contains(from), "the good file has no {from:?}");
    let text = GOOD.replacen(from, to, 1);
    let Err(error) = SweepSpec::parse(&text) else {
        return Some(format!("{to:?} was accepted"));
    };
    let Some(finding) = error.findings.iter().find(|f| f.message.contains(says)) else {
        return Some(format!("{to:?}: expected {says:?}, got\n{error}"));
    };
    let shown = text.lines().nth(finding.line - 1) == Some(finding.text.as_str());
    let underlined = finding.column >= 1
        && finding.column - 1 + finding.width <= finding.text.chars().count().max(1) + 1;
    (!finding.text.contains(on) || !shown || !underlined)
        .then(|| format!("{to:?}: expected the line of {on:?}, got\n{error}"))
}

fn check(cases: &[Case]) {
    let complaints: Vec<String> = cases.iter().filter_map(|case| complaint(*case)).collect();
    assert!(
        complaints.is_empty(),
        "{} of {} cases:\n{}",
        complaints.len(),
        cases.len(),
        complaints.join("\n")
    );
}

#[test]
fn all_errors_are_reported_at_once_in_file_order() {
    let text = GOOD
        .replace("heads = 8", "heads = 0")
        .replace("alpha = 0.96", "alpha = 2")
        .replace("steps = 12", "steps = 0");
    let error = SweepSpec::parse(&text).unwrap_err();
    let keys: Vec<&str> = error
        .findings
        .iter()
        .map(|f| f.text.split(' ').next().unwrap())
        .collect();
    assert_eq!(keys, ["heads", "alpha", "steps"], "{error}");
}

#[test]
fn an_error_shows_the_line_and_underlines_the_key() {
    let error = SweepSpec::parse(&GOOD.replace("alpha = 0.96", "alhpa = 0.96")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 34, column 1: unknown key `alhpa`; did you mean `alpha`?\n 34 | alhpa = 0.96\n    | ^^^^^"
    );
}

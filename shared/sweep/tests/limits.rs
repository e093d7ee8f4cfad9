//! No number makes a sweep file more than an error: not where it is parsed, and not where a stored
//! sweep is read again.

#![forbid(unsafe_code)]

use cedm_contract::JobKey;
use cedm_sweep::{Sweep, SweepSpec};
use std::time::Instant;

const GOOD: &str = include_str!("good_sweep.toml");

const EXTREMES: [&str; 11] = [
    "0",
    "1",
    "-1",
    "65536",
    "4000000000",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "1e12",
    "1e308",
    "-1e308",
];

/// The file with the number in this line replaced, and in lists every number.
fn with(line: usize, value: &str) -> Option<String> {
    let (key, found) = GOOD.lines().nth(line)?.split_once('=')?;
    let found = found.split('#').next()?.trim();
    let number = found
        .trim_start_matches(['[', ' ', '-'])
        .starts_with(|c: char| c.is_ascii_digit());
    if !number || key.trim_start().starts_with('#') {
        return None;
    }
    let value = if found.starts_with('[') {
        format!("[{value}, {value}]")
    } else {
        value.to_owned()
    };
    let lines = GOOD.lines().enumerate().map(|(index, text)| {
        if index == line {
            format!("{key}= {value}")
        } else {
            text.to_owned()
        }
    });
    Some(lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn every_number_at_every_extreme_ends_in_an_error_or_a_sweep() {
    let (mut tried, started) = (0, Instant::now());
    for line in 0..GOOD.lines().count() {
        for value in EXTREMES {
            let Some(text) = with(line, value) else {
                continue;
            };
            tried += 1;
            if let Ok(spec) = SweepSpec::parse(&text) {
                // What is accepted is within the limits: it can be stored and read again.
                let json = serde_json::to_string(&spec).unwrap();
                assert!(json.len() < 1 << 20, "{value} in line {line}");
            }
        }
    }
    assert!(tried > 200, "only {tried} were tried");
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn a_limit_is_named_with_the_value_and_its_place() {
    let large = |key: &str, value: &str| {
        let line = GOOD
            .lines()
            .position(|line| line.trim_start().starts_with(key))
            .unwrap();
        let error = SweepSpec::parse(&with(line, value).unwrap()).unwrap_err();
        assert!(
            error.findings.iter().any(|found| found.line == line + 1),
            "{error}"
        );
        error.to_string()
    };
    let error = large("images =", "4000000000");
    assert!(
        error.contains("`images` is 4000000000: expected at most 10000000"),
        "{error}"
    );
    let long = format!("# {}\n{GOOD}", "x".repeat(2 << 20));
    let error = SweepSpec::parse(&long).unwrap_err().to_string();
    assert!(
        error.contains("expected at most 1048576") && error.len() < 300,
        "{error}"
    );
}

#[test]
fn a_stored_sweep_is_held_to_the_same_limits() {
    let spec = SweepSpec::parse(GOOD).unwrap();
    let images = JobKey::of(b"images");
    let sweep = |spec| {
        Sweep::new(
            "large".parse().unwrap(),
            spec,
            images.clone(),
            None,
            0,
            String::new(),
        )
    };
    assert!(Sweep::decode(&sweep(spec.clone()).encode()).is_ok());
    let mut large = spec.clone();
    large.sampling.sets = 4_000_000_000;
    let error = Sweep::decode(&sweep(large).encode())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("sampling.sets") && error.contains("at most 1000"),
        "{error}"
    );
    // Each within its limit, and too many jobs together.
    let mut many = spec;
    many.sampling.sets = 1_000;
    many.sampling.images = 10_000_000;
    many.sampling.shard_size = 1;
    let error = Sweep::decode(&sweep(many).encode())
        .unwrap_err()
        .to_string();
    assert!(error.contains("jobs: expected at most 1000000"), "{error}");
}

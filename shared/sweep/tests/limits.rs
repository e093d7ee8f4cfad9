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

/// What is quoted from a file is short, however long its lines are and however many are wrong.
#[test]
fn an_error_quotes_a_part_of_a_long_line() {
    let key = "k".repeat(500_000);
    let error = SweepSpec::parse(&format!("{GOOD}\n{key} = 1\n"))
        .unwrap_err()
        .to_string();
    assert!(error.len() < 2_000, "{} characters", error.len());
    assert!(error.contains("unknown key `kkk"), "{error}");

    // The part around the error is shown, and the caret stands below it.
    let comment = "x".repeat(10_000);
    let line = format!("heads = 0 # {comment}");
    let text = GOOD.replace("heads = 8", &line);
    let error = SweepSpec::parse(&text).unwrap_err();
    assert_eq!(error.findings[0].column, 9, "{error}");
    assert!(error.findings[0].text.starts_with("heads = 0 # xxx"));
    assert!(error.to_string().len() < 1_000);
    let text = GOOD.replace(
        "lr = 1e-3",
        &format!("lr = {}-1.0 # {comment}", " ".repeat(600)),
    );
    let error = SweepSpec::parse(&text).unwrap_err();
    let far = &error.findings[0];
    assert_eq!(far.column, 606, "{error}");
    assert!(far.text.starts_with('…') && far.text.chars().count() < 200);
    assert_eq!(far.text.chars().nth(far.text_column - 1), Some('-'));

    let many: String = (0..500)
        .map(|i| format!("[[clustering]]\nname = \"c{i}\"\nmethod = \"kmeans\"\nclusters = [1]\n"))
        .collect();
    let error = SweepSpec::parse(&format!("{GOOD}\n{many}"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("more errors"), "{error}");
    assert!(error.len() < 10_000, "{} characters", error.len());
}

/// `model_channels = 4e9`, in either writing, is an error at its line; and a stored one is refused.
#[test]
fn four_billion_channels_are_refused_where_written_and_where_read() {
    for (value, says) in [
        ("4e9", "expected a whole number"),
        (
            "4000000000",
            "`model_channels` is 4000000000: expected at most 4096",
        ),
    ] {
        let section = format!("[training.network]\nmodel_channels = {value}\n[training.optimiser]");
        let text = GOOD.replace("[training.optimiser]", &section);
        let error = SweepSpec::parse(&text).unwrap_err();
        assert!(
            error.findings[0].text.starts_with("model_channels"),
            "{error}"
        );
        assert!(error.to_string().contains(says), "{error}");
    }
    let mut spec = SweepSpec::parse(GOOD).unwrap();
    spec.training.network.model_channels = 4_000_000_000;
    let id: cedm_contract::SweepId = "large".parse().unwrap();
    let sweep = Sweep::new(
        id.clone(),
        spec,
        JobKey::of(b"images"),
        None,
        0,
        String::new(),
    );
    let error = Sweep::read(&id, &sweep.encode()).unwrap_err().to_string();
    assert!(
        error.contains("training.network.model_channels") && error.contains("at most 4096"),
        "{error}"
    );
}

#[test]
fn a_sweep_that_lies_at_another_name_is_refused() {
    let sweep = Sweep::new(
        "one".parse().unwrap(),
        SweepSpec::parse(GOOD).unwrap(),
        JobKey::of(b"images"),
        None,
        0,
        String::new(),
    );
    let bytes = sweep.encode();
    assert!(Sweep::read(&sweep.id, &bytes).is_ok());
    let error = Sweep::read(&"two".parse().unwrap(), &bytes).unwrap_err();
    assert!(error.to_string().contains("that of `one`"), "{error}");
}

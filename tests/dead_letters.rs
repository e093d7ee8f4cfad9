//! Jobs that cannot succeed become dead letters with the reason, and can be replayed.

use anyhow::{Context, Result, ensure};
use cedm_tests::{StartOptions, System, digits, events::Watch};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(300);

/// A job with invalid input is not retried.
#[test]
fn a_rejected_job_is_dead_after_one_attempt() -> Result<()> {
    let system = System::start()?;
    let toml = digits::wrong(&system)?;
    digits::submit(&system, "wrong", &toml)?;
    ensure!(
        !Watch::on(&system, "wrong")?.end(TIMEOUT)?,
        "a sweep with a dead job is reported as complete"
    );

    let letters = system.run_json(&["dead", "list"])?;
    let letter = letters
        .as_array()
        .and_then(|letters| letters.first())
        .context("no dead letter")?;
    assert_eq!(letter["kind"], "cluster");
    assert_eq!(letter["failure"], "reject");
    let key = letter["key"].as_str().context("a letter without a key")?;
    let error = letter["error"]
        .as_str()
        .context("a letter without an error")?;
    assert!(
        error.contains('3') && error.contains("64"),
        "the error must name what was found and expected: {error}"
    );
    let shown = system.run_json(&["dead", "show", &key[..10]])?;
    assert_eq!(shown["job"]["key"], key);
    let outcome = system.run_json(&["status", "wrong"])?["outcome"].clone();
    assert_eq!(outcome["state"], "incomplete");
    ensure!(
        outcome["missing"]
            .to_string()
            .contains(error.lines().next().unwrap_or_default()),
        "the missing result must state its reason: {}",
        outcome["missing"]
    );

    // The cause is not fixed, so a replay fails again.
    let mut watch = Watch::all_sweeps(&system)?;
    assert_eq!(
        system.run_json(&["dead", "replay", key])?["outcome"],
        "queued"
    );
    watch.until("the second dead letter", TIMEOUT, |event| {
        event["key"] == key && event["what"] == "dead"
    })?;
    assert_eq!(
        system.run_json(&["dead", "list"])?.as_array().map(Vec::len),
        Some(1)
    );

    // The sweep says the cause once, with the key to copy and how much waits for it.
    let causes = system.run_json(&["status", "wrong"])?["causes"].clone();
    assert_eq!(causes.as_array().map(Vec::len), Some(1), "{causes}");
    assert_eq!(causes[0]["keys"][0], key);
    assert!(
        error.starts_with(causes[0]["reason"].as_str().unwrap_or("?")),
        "{causes}"
    );
    assert!(causes[0]["blocks"].as_u64() > Some(1), "{causes}");
    let retried = system.run_json(&["retry", "wrong"])?;
    assert_eq!(
        (&retried["key"], &retried["outcome"]),
        (&key.into(), &"queued".into())
    );
    watch.until("the third dead letter", TIMEOUT, |event| {
        event["key"] == key && event["what"] == "dead"
    })?;
    Ok(())
}

/// A job that crashes its worker in every attempt is given up; after the cause is fixed, a replay
/// succeeds.
#[test]
fn a_job_that_crashes_its_workers_becomes_a_dead_letter_and_can_be_replayed() -> Result<()> {
    let crash_before_commit = [
        ("CEDM_FAILPOINT", "before-manifest"),
        ("CEDM_ACK_WAIT_S", "2"),
    ];
    let system = System::start_as(StartOptions {
        environment: &crash_before_commit,
        ..StartOptions::default()
    })?;
    let toml = digits::LONG.replace("budget_kimg = 12.8", "budget_kimg = 0.256");
    digits::submit(&system, "long", &toml)?;
    ensure!(
        !Watch::on(&system, "long")?.end(TIMEOUT)?,
        "a sweep with dead jobs is reported as complete"
    );
    let letters = system.run_json(&["dead", "list"])?;
    let letters = letters.as_array().context("no list")?;
    assert!(
        !letters.is_empty()
            && letters
                .iter()
                .all(|letter| letter["failure"] == "bug" && letter["attempts"].as_u64() >= Some(5)),
        "{letters:?}"
    );

    let home = system.stop()?;
    let system = System::start_as(StartOptions {
        home: Some(home),
        ..StartOptions::default()
    })?;
    system.run_json(&["dead", "replay", "--all"])?;
    ensure!(
        Watch::on(&system, "long")?.end(TIMEOUT)?,
        "the replayed sweep did not complete"
    );
    assert_eq!(system.run_json(&["dead", "list"])?, serde_json::json!([]));
    Ok(())
}

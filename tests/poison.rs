//! Jobs that nobody can do end among the dead letters, with the reason, and can be handed in again.

use anyhow::{Context, Result, ensure};
use cedm_tests::{Start, System, digits, events::Watch};
use std::{fs, time::Duration};

const PATIENCE: Duration = Duration::from_secs(300);

/// A job whose own input is wrong is not tried again by itself.
#[test]
fn an_impossible_job_is_dead_at_once() -> Result<()> {
    let system = System::start()?;
    // Ids for three images, of a set of 64.
    let ids = system.home().join("ids.npy");
    fs::write(&ids, npy(&[0, 1, 0]))?;
    let toml = digits::LONG
        .replace("name = \"long\"", "name = \"wrong\"")
        .replace(
            "method = \"none\"",
            &format!(
                "method = \"imported\"\nfile = \"{}\"\nclusters = 2",
                ids.display()
            ),
        )
        .replace("budget_kimg = 12.8", "budget_kimg = 0.256");
    digits::submit(&system, "wrong", &toml)?;
    ensure!(
        !Watch::on(&system, "wrong")?.end(PATIENCE)?,
        "a sweep with a dead job calls itself complete"
    );

    let letters = system.ask(&["dead", "list"])?;
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
        "the reason names what was found and what was expected: {error}"
    );
    let shown = system.ask(&["dead", "show", &key[..10]])?;
    assert_eq!(shown["job"]["key"], key);
    let outcome = system.ask(&["status", "wrong"])?["outcome"].clone();
    assert_eq!(outcome["state"], "incomplete");
    ensure!(
        outcome["missing"]
            .to_string()
            .contains(error.lines().next().unwrap_or_default()),
        "what is missing has its reason: {}",
        outcome["missing"]
    );

    // Nothing was mended, so it dies again.
    let mut watch = Watch::everything(&system)?;
    assert_eq!(system.ask(&["dead", "replay", key])?["outcome"], "queued");
    watch.until("its second death", PATIENCE, |event| {
        event["key"] == key && event["what"] == "dead"
    })?;
    assert_eq!(
        system.ask(&["dead", "list"])?.as_array().map(Vec::len),
        Some(1)
    );
    Ok(())
}

/// A job whose workers die every time is given up by the broker; once the cause is gone, a replay
/// does it.
#[test]
fn a_job_that_kills_its_workers_is_given_up_and_replayed() -> Result<()> {
    let fatal = [
        ("CEDM_FAILPOINT", "before-manifest"),
        ("CEDM_ACK_WAIT_S", "2"),
    ];
    let system = System::start_as(Start {
        environment: &fatal,
        ..Start::default()
    })?;
    let toml = digits::LONG.replace("budget_kimg = 12.8", "budget_kimg = 0.256");
    digits::submit(&system, "long", &toml)?;
    ensure!(
        !Watch::on(&system, "long")?.end(PATIENCE)?,
        "a sweep with dead jobs calls itself complete"
    );
    let letters = system.ask(&["dead", "list"])?;
    let letters = letters.as_array().context("no list")?;
    assert!(
        !letters.is_empty()
            && letters
                .iter()
                .all(|letter| letter["failure"] == "bug" && letter["attempts"].as_u64() >= Some(5)),
        "{letters:?}"
    );

    let home = system.stop()?;
    let system = System::start_as(Start {
        home: Some(home),
        ..Start::default()
    })?;
    system.ask(&["dead", "replay", "--all"])?;
    ensure!(
        Watch::on(&system, "long")?.end(PATIENCE)?,
        "the replayed sweep did not complete"
    );
    assert_eq!(system.ask(&["dead", "list"])?, serde_json::json!([]));
    Ok(())
}

/// A one-dimensional int64 array as numpy writes it.
fn npy(values: &[i64]) -> Vec<u8> {
    let mut header = format!(
        "{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}",
        values.len()
    );
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(
        u16::try_from(header.len())
            .expect("invariant: a short header")
            .to_le_bytes(),
    );
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

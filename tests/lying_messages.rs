//! Garbage where messages of a whole system lie stops nothing: it is shown, and can be removed.

use anyhow::{Context, Result, ensure};
use cedm_contract::{JobKey, dead_subject};
use cedm_runtime::store::Body;
use cedm_tests::{System, digits, events::Watch};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(300);

/// Publishes as the system's own client may, and waits until the broker has read it.
fn publish(system: &System, messages: &[(String, &[u8])]) -> Result<()> {
    let environment = system.run_json(&["up"])?["environment"].clone();
    let text = |name: &str| {
        environment[name]
            .as_str()
            .context("`cedm up` lacks a variable")
    };
    let address = text("CEDM_NATS_URL")?.trim_start_matches("nats://");
    let mut connection = TcpStream::connect(address)?;
    let login = json!({"user": text("CEDM_NATS_USER")?, "pass": text("CEDM_NATS_PASSWORD")?, "verbose": false});
    write!(connection, "CONNECT {login}\r\n")?;
    for (subject, payload) in messages {
        write!(connection, "PUB {subject} {}\r\n", payload.len())?;
        connection.write_all(payload)?;
        write!(connection, "\r\n")?;
    }
    write!(connection, "PING\r\n")?;
    for line in BufReader::new(connection).lines() {
        let line = line?;
        ensure!(!line.starts_with("-ERR"), "the broker refuses: {line}");
        if line == "PONG" {
            return Ok(());
        }
    }
    anyhow::bail!("the broker closed the connection")
}

/// One byte among the dead letters, one below the subject of each job that is about to be queued,
/// and a manifest of an unknown schema: the sweep completes, and what is left over can be removed.
#[test]
fn a_sweep_completes_beside_messages_that_are_none() -> Result<()> {
    let system = System::start()?;
    let toml = digits::LONG.replace("budget_kimg = 12.8", "budget_kimg = 0.256");
    let file = system.home().join("sweep.toml");
    fs::write(&file, &toml)?;
    digits::import(&system)?;
    let file = file.display().to_string();
    let planned = system.run_json(&["submit", &file, "--name", "long", "--dry-run"])?;
    let mut messages: Vec<(String, &[u8])> = Vec::new();
    let unknown = JobKey::of(b"unknown");
    let stray = dead_subject(cedm_contract::Kind::Sample, &unknown);
    messages.push((stray.clone(), b"x"));
    messages.push((format!("cedm.evt.sample.done.{unknown}"), b"no event"));
    messages.push(("cedm.evt.nonsense".to_owned(), b"x"));
    for node in planned["jobs"].as_array().context("no jobs")? {
        if let (Some(kind), Some(key)) = (node["kind"].as_str(), node["job"]["key"].as_str())
            && kind != "import"
            && kind != "report"
        {
            messages.push((format!("cedm.job.{kind}.p1.{key}"), b"no job"));
        }
    }
    let garbled = messages.len() - 3;
    ensure!(garbled > 0, "no job is ready: {planned}");
    publish(&system, &messages)?;
    system.with_connection(async |connection| {
        let name = cedm_contract::manifest_key(&unknown);
        let bytes = || Body::Bytes(r#"{"schema": 999}"#.into());
        connection.store().put(&name, bytes()).await?;
        Ok(connection.store().put("manifest/strange", bytes()).await?)
    })?;
    let is_letter = |row: &&Value| row.get("key").is_some();
    let is_stray = |row: &&Value| row["unreadable"] == stray.as_str();
    let deadline = std::time::Instant::now() + TIMEOUT;
    loop {
        let listed = system.run_json(&["dead", "list"])?;
        let rows = listed.as_array().context("no list")?;
        assert_eq!(rows.iter().filter(is_stray).count(), 1, "{listed}");
        if rows.iter().filter(is_letter).count() == garbled {
            break;
        }
        ensure!(
            std::time::Instant::now() < deadline,
            "no letters of the garbled jobs: {listed}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    system.run_json(&["status"])?;

    digits::submit(&system, "long", &toml)?;
    ensure!(
        Watch::on(&system, "long")?.end(TIMEOUT)?,
        "the sweep did not complete beside garbage: {}",
        system.run_json(&["dead", "list"])?
    );
    let left = system.run_json(&["dead", "list"])?;
    assert!(
        left.as_array()
            .is_some_and(|rows| rows.iter().all(|row| is_stray(&row))),
        "{left}"
    );
    ensure!(
        !system
            .run(&["dead", "replay", unknown.as_str()])?
            .status
            .success()
    );
    system.run_json(&["dead", "forget", &stray])?;
    assert_eq!(system.run_json(&["dead", "list"])?, json!([]));
    remove_what_fsck_lists(&system, &unknown)
}

/// Every name that `fsck` gives to what it cannot read removes that, and nothing else goes by a
/// name.
fn remove_what_fsck_lists(system: &System, unknown: &JobKey) -> Result<()> {
    let found = system.run_json(&["fsck"])?;
    assert_eq!(found["broken"], json!([]), "{found}");
    assert_eq!(found["newer"], json!([unknown]), "{found}");
    assert_eq!(found["strange"], json!(["manifest/strange"]), "{found}");
    let events = found["unreadable_events"].as_array().context("no events")?;
    assert_eq!(events.len(), 2, "{found}");
    let mut names = vec![format!("manifest/{unknown}"), "manifest/strange".to_owned()];
    for event in events {
        names.push(event["name"].as_str().context("no name")?.to_owned());
    }
    for name in &names {
        system.run_json(&["fsck", "--remove", name])?;
        let again = system.run(&["fsck", "--remove", name])?;
        ensure!(!again.status.success(), "{name} was removed twice");
    }
    let left = system.run_json(&["fsck"])?;
    for what in ["broken", "newer", "strange", "unreadable_events"] {
        assert_eq!(left[what], json!([]), "{what}: {left}");
    }
    assert_eq!(
        left["manifests"].as_u64(),
        found["manifests"].as_u64().map(|all| all - 1)
    );

    // A sound result, an event, a letter and a sweep are none of its business.
    let events = system.events()?;
    let event = events.first().context("no events")?;
    let (kind, what, key) = (event.kind, event.what, &event.key);
    for sound in [
        format!("manifest/{key}"),
        format!("cedm.evt.{kind}.{what}.{key}#1"),
        format!("cedm.dead.{kind}.{key}"),
        "sweep/long/spec".to_owned(),
        "cedm.evt.sample.done".to_owned(),
    ] {
        let refused = system.run(&["fsck", "--remove", &sound])?;
        ensure!(!refused.status.success(), "{sound} was removed");
    }
    assert_eq!(system.events()?.len(), events.len());
    assert_eq!(system.run_json(&["fsck"])?["manifests"], left["manifests"]);
    Ok(())
}

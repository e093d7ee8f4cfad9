//! The life of a sweep from the command line: held and let go, retried, removed, and what it left
//! behind collected, beside sweeps that need the same results.

use anyhow::{Context, Result, ensure};
use cedm_contract::{CHECKPOINT_PREFIX, MANIFEST_PREFIX, OBJECT_PREFIX};
use cedm_tests::{StartOptions, System, digits, events::Watch, wait_until};
use serde_json::Value;
use std::{fs, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(300);
/// Everything that nobody needs, whatever its age.
const AT_ONCE: [&str; 5] = ["gc", "--left-after", "0s", "--unneeded-after", "0s"];

fn complete(system: &System, sweep: &str) -> Result<()> {
    ensure!(
        Watch::on(system, sweep)?.end(TIMEOUT)?,
        "{sweep} did not complete"
    );
    Ok(())
}

fn state(system: &System, sweep: &str) -> Result<String> {
    let status = system.run_json(&["status", sweep])?;
    Ok(status["state"].as_str().context("no state")?.to_owned())
}

fn outstanding(system: &System) -> Result<u64> {
    let status = system.run_json(&["status"])?;
    status["outstanding"].as_u64().context("no count")
}

/// A command that must fail; what it says.
fn fails(system: &System, arguments: &[&str]) -> Result<String> {
    let output = system.command(arguments)?.output()?;
    ensure!(!output.status.success(), "cedm {arguments:?} succeeded");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Keys of the objects below a prefix.
fn below(system: &System, prefix: &str) -> Result<Vec<String>> {
    system.with_connection(async |connection| {
        let listed = connection.store().list(prefix).await?;
        Ok(listed.into_iter().map(|object| object.key).collect())
    })
}

/// Without a trainer the job of training waits in the queue.
#[test]
fn a_paused_sweep_starts_nothing_and_leaves_what_another_sweep_needs() -> Result<()> {
    let system = System::start_as(StartOptions {
        options: &["--workers", "trainer=0"],
        ..StartOptions::default()
    })?;
    digits::submit(&system, "held", digits::SMALL)?;
    wait_until("the training is queued", TIMEOUT, || {
        let explained = system.run_json(&["explain", "held"])?;
        let queued = explained["queued"].as_array().context("no queue")?;
        Ok(queued.len() == 1 && queued[0]["kind"] == "train")
    })?;
    // Another sweep of the same work.
    digits::submit(&system, "other", digits::SMALL)?;
    assert_eq!(system.run_json(&["pause", "held"])?["paused"], true);
    assert_eq!(state(&system, "held")?, "paused");
    assert_eq!(system.run_json(&["pause", "held"])?["paused"], false);
    assert_eq!(outstanding(&system)?, 1, "the other sweep needs it");
    let refused = fails(&system, &["rm", "held"])?;
    ensure!(refused.contains("it is paused"), "{refused}");
    let refused = fails(&system, &["retry", "held"])?;
    ensure!(refused.contains("cedm resume held"), "{refused}");

    assert_eq!(system.run_json(&["pause", "other"])?["paused"], true);
    wait_until("the queue is empty", TIMEOUT, || {
        Ok(outstanding(&system)? == 0)
    })?;
    // Longer than a coordinator needs to read everything again.
    std::thread::sleep(Duration::from_secs(17));
    assert_eq!(outstanding(&system)?, 0, "a paused sweep starts nothing");

    assert_eq!(system.run_json(&["resume", "held"])?["resumed"], true);
    assert_eq!(system.run_json(&["resume", "held"])?["resumed"], false);
    assert_eq!(state(&system, "held")?, "running");
    wait_until("the training is queued again", TIMEOUT, || {
        Ok(outstanding(&system)? == 1)
    })?;
    assert_eq!(system.run_json(&["cancel", "held"])?["cancelled"], true);
    assert_eq!(state(&system, "held")?, "cancelled");
    assert_eq!(state(&system, "other")?, "paused");
    wait_until("the queue is empty again", TIMEOUT, || {
        Ok(outstanding(&system)? == 0)
    })
}

/// What a sweep needs stays, what nobody needs goes, and what is gone is made again with the same
/// digests.
#[test]
fn what_nobody_needs_is_collected_and_can_be_made_again() -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "first", digits::SMALL)?;
    complete(&system, "first")?;
    let digests = system.digests("first")?;
    let second = digits::SMALL.replace("clusters = [4]", "clusters = [5]");
    digits::submit(&system, "second", &second)?;
    complete(&system, "second")?;

    let manifests = below(&system, MANIFEST_PREFIX)?;
    let found = system.run_json(&AT_ONCE)?;
    assert_eq!(found["found"]["results"]["count"], 0, "{found}");
    // Things like those that a crash leaves behind.
    let key = manifests[0]
        .strip_prefix(MANIFEST_PREFIX)
        .context("no key")?;
    let attempt = format!("9-1-{}", ulid_text());
    let left = [
        format!("{OBJECT_PREFIX}{key}/{attempt}/features.safetensors"),
        format!("{CHECKPOINT_PREFIX}{key}/000000000005-{attempt}"),
    ];
    system.with_connection(async |connection| {
        for key in &left {
            let body = cedm_runtime::Body::Bytes(b"left over".as_slice().into());
            connection.store().put(key, body).await?;
        }
        Ok(())
    })?;
    assert_eq!(system.run_json(&["gc"])?["bytes"], 0, "they are young");

    assert_eq!(system.run_json(&["rm", "first"])?["removed"], true);
    let sweeps = system.run_json(&["status"])?["sweeps"].clone();
    assert_eq!(sweeps.as_array().map(Vec::len), Some(1), "{sweeps}");
    let found = system.run_json(&AT_ONCE)?;
    assert_eq!(found["deleted"], false);
    assert_eq!(found["found"]["attempts"]["count"], 1, "{found}");
    assert_eq!(found["found"]["checkpoints"]["count"], 1, "{found}");
    let unneeded = found["found"]["results"]["count"].as_u64().unwrap_or(0);
    ensure!(unneeded >= 5, "{found}");
    assert_eq!(below(&system, MANIFEST_PREFIX)?, manifests, "a dry run");

    let collected = system.run_json(&[&AT_ONCE[..], &["--delete"]].concat())?;
    assert_eq!(collected["bytes"], found["bytes"]);
    let after = below(&system, MANIFEST_PREFIX)?;
    assert_eq!(after.len() as u64, manifests.len() as u64 - unneeded);
    assert_eq!(system.run_json(&AT_ONCE)?["bytes"], 0);
    assert_eq!(state(&system, "second")?, "complete");
    system.run_json(&["fsck"])?; // fails where something is broken

    // The same work again: made anew where it is gone, reused where the other sweep kept it.
    digits::submit(&system, "again", digits::SMALL)?;
    complete(&system, "again")?;
    assert_eq!(system.digests("again")?, digests);
    let jobs = system.run_json(&["status", "again"])?["outcome"]["jobs"].clone();
    let reused = jobs["cached"].as_u64().context("no count")?;
    ensure!(
        reused > 0 && reused < jobs["done"].as_u64().unwrap_or(0),
        "{jobs}"
    );

    // And when everything is given up, everything goes.
    system.run_json(&["rm", "again", "second"])?;
    let listed = system.run_json(&["sets", "list"])?;
    assert_eq!(listed[0]["name"], "digits");
    assert_eq!(listed[0]["used_by"], Value::Array(Vec::new()));
    assert_eq!(system.run_json(&["sets", "rm", "digits"])?["removed"], true);
    let unknown = fails(&system, &["sets", "rm", "digits"])?;
    ensure!(unknown.contains("`digits` not found"), "{unknown}");
    system.run_json(&[&AT_ONCE[..], &["--delete"]].concat())?;
    for prefix in [
        MANIFEST_PREFIX,
        OBJECT_PREFIX,
        CHECKPOINT_PREFIX,
        "dataset/",
        "sweep/",
    ] {
        assert_eq!(below(&system, prefix)?, Vec::<String>::new(), "{prefix}");
    }
    system.run_json(&["fsck"])?;
    Ok(())
}

/// The commands that only look, on a system that runs and with a file written for its images.
#[test]
fn a_first_sweep_file_is_written_and_the_system_is_looked_at() -> Result<()> {
    let system = System::start()?;
    let empty = system.run_json(&["sets", "list"])?;
    assert_eq!(empty, Value::Array(Vec::new()));
    digits::import(&system)?;
    let shown = system.run_json(&["sets", "show", "digits"])?;
    assert_eq!(
        (&shown["count"], &shown["resolution"]),
        (&64.into(), &8.into())
    );

    // A name that is taken: what was copied for it is not kept, nor is what was abandoned long ago.
    let (imports, archive) = (system.home().join("imports"), digits::archive());
    let abandoned = imports.join("0123456789abcdef");
    fs::create_dir_all(&abandoned)?;
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(8 * 86_400);
    fs::File::open(&abandoned)?.set_modified(long_ago)?;
    let archive = archive.display().to_string();
    let refused = fails(&system, &["import", &archive, "--name", "digits"])?;
    ensure!(refused.contains("--replace"), "{refused}");
    ensure!(fs::read_dir(&imports)?.next().is_none(), "copies are left");

    let file = system.home().join("first.toml");
    let path = file.display().to_string();
    system.run_json(&["new", "digits", "--out", &path])?;
    let refused = fails(&system, &["new", "digits", "--out", &path])?;
    ensure!(refused.contains("exists"), "{refused}");
    let written = fs::read_to_string(&file)?;
    ensure!(written.contains("preset = \"digits8\""), "{written}");
    let plan = system.run_json(&["submit", &path, "--dry-run"])?;
    ensure!(
        plan["jobs"].as_array().is_some_and(|jobs| jobs.len() > 3),
        "{plan}"
    );

    let health = system.run_json(&["doctor"])?;
    assert_eq!(health["verdict"], "ok", "{health}");
    let top = system.run_json(&["top"])?;
    let workers = top.as_array().context("no workers")?;
    ensure!(workers.len() >= 7, "{top}");
    ensure!(
        workers
            .iter()
            .all(|worker| worker["resident_bytes"].as_u64() > Some(1 << 20)),
        "{top}"
    );
    let presets = system.run_json(&["presets"])?;
    ensure!(presets.as_array().is_some_and(|presets| presets.len() > 5));
    Ok(())
}

/// A ULID for an attempt that never was.
fn ulid_text() -> &'static str {
    "01ARZ3NDEKTSV4RRFFQ69G5FAV"
}

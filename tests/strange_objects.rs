//! What no program reads may lie anywhere in the store and in the bucket of sweeps: it stops
//! nothing, is counted, listed, and removed by a command.

use anyhow::{Context, Result, ensure};
use cedm_contract::JobKey;
use cedm_runtime::{Bucket, SWEEPS, store::Body};
use cedm_tests::{System, digits, events::Watch, http, wait_until};
use serde_json::{Value, json};
use std::{fs, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(300);

/// How much the coordinator has skipped at a place.
fn counted(system: &System, place: &str) -> Result<f64> {
    let state: Value = serde_json::from_slice(&fs::read(system.home().join("state.json"))?)?;
    let children = state["children"].as_array().context("no children")?;
    let coordinator = children
        .iter()
        .find(|child| child["name"] == "coordinator-1");
    let address = coordinator.context("no coordinator")?["metrics"].as_str();
    let (_, metrics) = http::get(address.context("no address")?, "/metrics")?;
    let series = format!("cedm_undecodable_messages_total{{place=\"{place}\"");
    let line = metrics.lines().find(|line| line.starts_with(&series));
    let value = line.and_then(|line| line.rsplit(' ').next());
    Ok(value
        .with_context(|| format!("no series {series}"))?
        .parse()?)
}

fn names(system: &System) -> Result<Vec<String>> {
    system.with_connection(async |connection| {
        let listed = connection.store().list("").await?.into_iter();
        Ok(listed.map(|object| object.key).collect())
    })
}

#[test]
fn what_no_program_reads_is_counted_listed_and_removed() -> Result<()> {
    let system = System::start()?;
    digits::submit(&system, "small", digits::SMALL)?;
    ensure!(Watch::on(&system, "small")?.end(TIMEOUT)?);
    let sound = names(&system)?;
    let key = JobKey::of(b"nobody's job");
    let mut strange = vec![
        format!("checkpoint/{key}/no-step"),
        "blob/no-digest".to_owned(),
        "dataset/No Name".to_owned(),
        "manifest/no-key".to_owned(),
        "nobody/knows".to_owned(),
        format!("object/{key}/no-attempt/a"),
        "sweep/No Name/spec".to_owned(),
        "sweep/never-submitted/done".to_owned(),
        "sweep/small/note".to_owned(),
        "zz/1".to_owned(),
        "zz/2".to_owned(),
    ];
    strange.sort();
    let entry = "No/sweep";
    system.with_connection(async |connection| {
        for name in strange.iter().map(String::as_str).chain(["dataset/ruin"]) {
            let body = Body::Bytes(b"\0\xff\x1b[2J".as_slice().into());
            connection.store().put(name, body).await?;
        }
        let bucket = Bucket::open(connection, SWEEPS).await?;
        bucket.put(entry, b"x".as_slice()).await?;
        Ok(())
    })?;

    // Counted where a service comes by; the entry of the bucket goes by itself.
    for (place, least) in [("sweep/", 3.0), ("sweeps", 1.0)] {
        wait_until(&format!("{place} is counted"), TIMEOUT, || {
            Ok(counted(&system, place)? >= least)
        })?;
    }
    wait_until("the entry is removed", TIMEOUT, || {
        system.with_connection(async |connection| {
            let bucket = Bucket::open(connection, SWEEPS).await?;
            Ok(bucket.get(entry).await?.is_none())
        })
    })?;

    // Listed; the name of the image set is damaged, the rest breaks nothing.
    let listed = system.run(&["fsck", "--output", "json"])?;
    let listed: Value = serde_json::from_slice(&listed.stdout)?;
    let mut found: Vec<&str> = listed["strange"]
        .as_array()
        .context("nothing is listed")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    found.sort_unstable();
    assert_eq!(found, strange);
    assert_eq!(listed["strange_count"], strange.len());
    assert_eq!(listed["broken"], json!([]));
    ensure!(system.run_json(&["status", "small"])?["state"] == "complete");

    // What programs read is not removed, and nothing is twice.
    for own in [
        "sweep/small/spec",
        "dataset/digits",
        "system/identity",
        "nothing",
    ] {
        let output = system.run(&["fsck", "--remove", own])?;
        ensure!(!output.status.success(), "{own} was removed");
    }
    let removed = system.run_json(&["fsck", "--remove", "zz/*"])?;
    assert_eq!(
        (&removed["count"], &removed["kept"]),
        (&json!(2), &json!(true))
    );
    for name in strange.iter().map(String::as_str).chain(["dataset/ruin"]) {
        if !name.starts_with("zz/") {
            ensure!(system.run_json(&["fsck", "--remove", name])?["count"] == 1);
        }
        let again = system.run(&["fsck", "--remove", name])?;
        ensure!(!again.status.success(), "{name} was removed twice");
    }
    // Copies are kept until they are removed as well.
    let copies = system.run_json(&["fsck", "--remove", "suspect/strange/*"])?;
    assert_eq!(copies["count"], strange.len() + 1);
    assert_eq!(names(&system)?, sound);
    let sound = system.run_json(&["fsck"])?;
    assert_eq!(
        (&sound["strange"], &sound["damaged_names"]),
        (&json!([]), &json!([]))
    );
    Ok(())
}

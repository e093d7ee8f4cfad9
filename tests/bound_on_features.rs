//! `cedm-bounds run` finds a bound from a file of features, without broker or store, and never
//! computes a probe twice.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use cedm_runtime::Body;
use cedm_tests::{System, program};
use serde_json::Value;
use std::{path::Path, process::Command};

/// Writes 160 rows in 8 directions as a float32 npy file.
fn write_features(path: &Path) -> Result<()> {
    let (rows, width) = (160, 6);
    let value = |row: usize, column: usize| {
        let direction = ((row % 8 * 7 + column * 3) as f32 * 1.7).sin() * 3.0;
        direction + ((row * width + column) as f32 * 12.9898).sin() * 0.2
    };
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len())?.to_le_bytes());
    bytes.extend(header.as_bytes());
    for row in 0..rows {
        bytes.extend((0..width).flat_map(|column| value(row, column).to_le_bytes()));
    }
    Ok(std::fs::write(path, bytes)?)
}

const TEMI: &str = r#"{"heads": 2, "hidden": 16, "bottleneck": 8, "epochs": 6, "batch": 32, "base_lr": 0.02, "warmup_epochs": 1,
    "teacher_momentum": 0.9, "teacher_momentum_end": 0.9, "neighbours": 10}"#;

const SEARCH: [&str; 11] = [
    "run", "--start", "2", "--cap", "16", "--step", "2", "--alpha", "0.9", "--seeds", "2",
];

fn bounds(folder: &Path, more: &[&str]) -> Result<Result<Value, String>> {
    let mut command = Command::new(program("cedm-bounds")?);
    command
        .args(SEARCH)
        .arg("--features")
        .arg(folder.join("features.npy"))
        .arg("--out")
        .arg(folder.join("search"))
        .args(more)
        .env("CEDM_THREADS", "1");
    finish(command)
}

/// What the program prints as JSON, or its error output.
fn finish(mut command: Command) -> Result<Result<Value, String>> {
    let done = command.output().context("start cedm-bounds")?;
    Ok(if done.status.success() {
        Ok(serde_json::from_slice(&done.stdout)?)
    } else {
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    })
}

#[test]
fn a_bound_is_found_from_a_file_of_features() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_features(&folder.path().join("features.npy"))?;
    let options = ["--settings", TEMI, "--lower-bound", "12,16"];
    let found = bounds(folder.path(), &options)?.map_err(anyhow::Error::msg)?;
    ensure!(found["decision"]["next"] == "found", "{found}");
    let probes = found["probes"].as_array().context("no probes")?;
    ensure!(
        probes[0]["clusters"] == 2
            && probes
                .iter()
                .all(|probe| probe["used"].as_array().is_some_and(|used| used.len() == 2)),
        "{found}"
    );
    ensure!(
        probes.iter().all(|probe| probe["utilisation_std"].is_f64()),
        "{found}"
    );
    // C_max is the largest C whose probe passes
    let passing = probes
        .iter()
        .filter(|probe| probe["passes"] == true)
        .filter_map(|probe| probe["clusters"].as_u64())
        .max();
    ensure!(found["decision"]["c_max"].as_u64() == passing, "{found}");
    let lower = &found["lower"];
    ensure!(
        lower["probes"]
            .as_array()
            .is_some_and(|probes| probes.len() == 2)
            && lower["std"].is_f64(),
        "{lower}"
    );

    let probe = folder.path().join("search/C2-seed0/probe.json");
    let before = std::fs::metadata(&probe)?.modified()?;
    let again = bounds(folder.path(), &options)?.map_err(anyhow::Error::msg)?;
    ensure!(
        again == found && std::fs::metadata(&probe)?.modified()? == before,
        "probes were recomputed"
    );

    let other = bounds(folder.path(), &["--settings", r#"{"heads": 3}"#])?;
    ensure!(
        other
            .as_ref()
            .is_err_and(|error| error.contains("holds the probes of another search")),
        "{other:?}"
    );
    Ok(())
}

#[test]
fn a_search_on_features_in_a_store_is_continued() -> Result<()> {
    let system = System::start()?;
    let folder = tempfile::tempdir()?;
    let local = folder.path().join("features.npy");
    write_features(&local)?;
    let features = String::from("s3://cedm/mine/features.npy");
    let put = |local: &Path| {
        system.with_connection(async |connection| {
            Ok(connection
                .store()
                .put("mine/features.npy", Body::File(local))
                .await?)
        })
    };
    let environment = system.run_json(&["up"])?["environment"].clone();
    let variables = environment.as_object().context("no environment")?;
    let search = || -> Result<Result<Value, String>> {
        let mut command = Command::new(program("cedm-bounds")?);
        command
            .args(SEARCH)
            .args(["--settings", TEMI, "--features", &features]);
        command.arg("--out").arg(folder.path().join("search"));
        command.env("CEDM_THREADS", "1");
        command.envs(
            variables
                .iter()
                .filter_map(|(name, value)| Some((name, value.as_str()?))),
        );
        finish(command)
    };
    put(&local)?;
    let found = search()?.map_err(anyhow::Error::msg)?;
    let probe = folder.path().join("search/C2-seed0/probe.json");
    let before = std::fs::metadata(&probe)?.modified()?;
    // A second download has another time of change, and is still the same features.
    let again = search()?.map_err(anyhow::Error::msg)?;
    ensure!(
        again == found && std::fs::metadata(&probe)?.modified()? == before,
        "probes were recomputed"
    );
    // As many bytes, one of them different.
    let mut bytes = std::fs::read(&local)?;
    *bytes.last_mut().context("an empty file")? ^= 1;
    std::fs::write(&local, bytes)?;
    put(&local)?;
    let other = search()?;
    ensure!(
        other
            .as_ref()
            .is_err_and(|error| error.contains("holds the probes of another search")),
        "{other:?}"
    );
    Ok(())
}

#[test]
fn a_failed_clustering_ends_the_search() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_features(&folder.path().join("features.npy"))?;
    let failed = bounds(
        folder.path(),
        &["--settings", r#"{"neighbours": 10, "batch": 1000}"#],
    )?;
    let error = failed.err().context("a batch above the set was accepted")?;
    ensure!(
        error.contains("batch is 1000") && error.contains("failed at C = 2, seed 0"),
        "{error}"
    );
    ensure!(
        !folder.path().join("search/C2-seed0/probe.json").exists(),
        "a probe without a result was kept"
    );
    Ok(())
}

//! Small inputs of kinds that people reported publicly, through the built programs: what is right
//! of each stands in `cases.json` beside them.
//!
//! The project's own inputs are in `tests/cases`; `$CEDM_CASES_DIR` may name a folder with more,
//! whose `data/cases.json` has the same form. A case: `command` (`import`, with `input` and `args`;
//! or `features`, with `weights` and `extractor`) and `expect`: any of `count`, `count_min`,
//! `class_names`, `labels`, `labels_some`, `labels_differ_from`, `skipped`, `skipped_has`,
//! `skipped_min`, `pixels_as` another input, `features_as` other weights, `features_any`, `error`
//! and `says` patterns, or `either` with a list of acceptable ends.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use cedm_contract::Digest;
use cedm_tests::program;
use regex::Regex;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What a program made of an input.
#[derive(Debug, Default)]
struct Imported {
    failed: bool,
    says: String,
    count: u64,
    class_names: Value,
    labels: Value,
    pixels: Option<Digest>,
    skipped: Vec<String>,
}

fn import(folder: &Path, case: &Value, out: &Path) -> Result<Imported> {
    let input = folder.join(case["input"].as_str().context("a case without input")?);
    let args = case["args"].as_array().cloned().unwrap_or_default();
    let output = Command::new(program("cedm-extractor")?)
        .arg("import")
        .arg(&input)
        .arg("--out")
        .arg(out)
        .args(args.iter().filter_map(Value::as_str))
        .env("RUST_BACKTRACE", "0")
        .output()?;
    let said = [&output.stdout[..], b"\n", &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).replace(&input.display().to_string(), "INPUT");
    let mut found = Imported {
        failed: !output.status.success(),
        says: said,
        ..Imported::default()
    };
    if found.failed {
        return Ok(found);
    }
    let record: Value = serde_json::from_slice(&fs::read(out.join("import.json"))?)?;
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    let shards = record["set"]["shards"].as_array().context("no shards")?;
    for shard in shards {
        let path = out.join(shard["object"].as_str().context("no object")?);
        let shard = cedm_images::read_shard(&path)?;
        pixels.extend(shard.images);
        labels.extend(shard.labels.unwrap_or_default());
    }
    let names = &record["set"]["class_names"];
    found.count = record["set"]["count"].as_u64().context("no count")?;
    found.class_names = if names.as_array().is_none_or(Vec::is_empty) {
        Value::Null
    } else {
        names.clone()
    };
    found.labels = if labels.is_empty() {
        Value::Null
    } else {
        labels.into()
    };
    found.pixels = Some(Digest::of(&pixels));
    let skipped = record["skipped"].as_array().cloned().unwrap_or_default();
    let name = |skipped: &Value| skipped["name"].as_str().map(str::to_owned);
    found.skipped = skipped.iter().filter_map(name).collect();
    Ok(found)
}

/// Digest of the features of the PNG files in a folder, or what the program said.
fn features(
    folder: &Path,
    case: &Value,
    weights: &str,
    work: &Path,
) -> Result<Result<Digest, String>> {
    let clean = work.join("images");
    fs::create_dir_all(&clean)?;
    let input = folder.join(case["input"].as_str().context("a case without input")?);
    for entry in fs::read_dir(input)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "png") {
            fs::copy(&path, clean.join(path.file_name().context("no name")?))?;
        }
    }
    let out = work.join("features.npy");
    if out.exists() {
        fs::remove_file(&out)?;
    }
    let output = Command::new(program("cedm-extractor")?)
        .arg("run")
        .arg(&clean)
        .args([
            "--extractor",
            case["extractor"].as_str().unwrap_or("vit"),
            "--batch",
            "1",
        ])
        .arg("--weights")
        .arg(folder.join(weights))
        .arg("--out")
        .arg(&out)
        .env("RUST_BACKTRACE", "0")
        .output()?;
    if output.status.success() {
        return Ok(Ok(Digest::of(&fs::read(&out)?)));
    }
    Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// `None` where the finding is as expected, else what is wrong.
fn differs(expect: &Value, found: &Imported, folder: &Path, work: &Path) -> Result<Option<String>> {
    if let Some(ends) = expect["either"].as_array() {
        let mut wrong = Vec::new();
        for end in ends {
            match differs(end, found, folder, work)? {
                None => return Ok(None),
                Some(reason) => wrong.push(reason),
            }
        }
        return Ok(Some(wrong.join(" or ")));
    }
    if let Some(pattern) = expect["error"].as_str() {
        if !found.failed {
            return Ok(Some(format!(
                "accepted, expected an error about /{pattern}/"
            )));
        }
        let said = Regex::new(pattern)?.is_match(&found.says);
        return Ok((!said).then(|| format!("the error says: {}", found.says.trim())));
    }
    if found.failed {
        return Ok(Some(format!("refused: {}", found.says.trim())));
    }
    let same = |key: &str, value: Value| {
        let expected = expect.get(key).filter(|expected| **expected != value);
        expected.map(|expected| format!("{key} {value}, expected {expected}"))
    };
    let at_least = |key: &str, value: usize| {
        let least = expect[key].as_u64().filter(|least| *least > value as u64);
        least.map(|least| format!("{key} {value}, expected at least {least}"))
    };
    let plain = [
        same("count", found.count.into()),
        same("class_names", found.class_names.clone()),
        same("labels", found.labels.clone()),
        same("skipped", found.skipped.clone().into()),
        at_least("count_min", found.count as usize),
        at_least("skipped_min", found.skipped.len()),
    ];
    if let Some(wrong) = plain.into_iter().flatten().next() {
        return Ok(Some(wrong));
    }
    if expect["labels_some"] == true && found.labels.is_null() {
        return Ok(Some("no labels".to_owned()));
    }
    if expect
        .get("labels_differ_from")
        .is_some_and(|other| *other == found.labels)
    {
        return Ok(Some(format!("labels {} of the wrong part", found.labels)));
    }
    for name in expect["skipped_has"].as_array().into_iter().flatten() {
        let name = name.as_str().context("a name is no text")?;
        if !found.skipped.iter().any(|skipped| skipped == name) {
            return Ok(Some(format!("accepted {name}")));
        }
    }
    if let Some(pattern) = expect["says"].as_str()
        && !Regex::new(pattern)?.is_match(&found.says)
    {
        return Ok(Some(format!("nothing said about /{pattern}/")));
    }
    if let Some(other) = expect.get("pixels_as") {
        let other = serde_json::json!({ "input": other });
        if import(folder, &other, &work.join("other"))?.pixels != found.pixels {
            return Ok(Some(format!("other pixels than {other}")));
        }
    }
    Ok(None)
}

/// Runs every case of a folder; what falls short, and how many there were.
fn run(folder: &Path) -> Result<(Vec<String>, usize)> {
    let path = folder.join("cases.json");
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let cases: Vec<Value> = serde_json::from_slice(&text)?;
    let mut wrong = Vec::new();
    for case in &cases {
        let work = tempfile::tempdir()?;
        let expect = &case["expect"];
        let reason = match case["command"].as_str() {
            Some("import") => {
                let found = import(folder, case, &work.path().join("out"))?;
                differs(expect, &found, folder, work.path())?
            }
            Some("features") => {
                let weights = case["weights"].as_str().context("a case without weights")?;
                match (
                    features(folder, case, weights, work.path())?,
                    expect["features_as"].as_str(),
                ) {
                    (Err(said), _) => Some(format!("refused: {}", said.trim())),
                    (Ok(_), None) => None,
                    (Ok(mine), Some(other)) => {
                        let plain = features(folder, case, other, work.path())?;
                        (plain != Ok(mine)).then(|| format!("other features than {other}"))
                    }
                }
            }
            other => bail!("command {other:?}, expected import or features"),
        };
        if let Some(reason) = reason {
            wrong.push(format!("{} {}: {reason}", case["input"], case["weights"]));
        }
    }
    Ok((wrong, cases.len()))
}

fn check(folder: &Path, least: usize) -> Result<()> {
    let (wrong, count) = run(folder)?;
    ensure!(
        count >= least,
        "{} holds only {count} cases",
        folder.display()
    );
    ensure!(
        wrong.is_empty(),
        "{} of {count} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

#[test]
fn the_projects_own_inputs_are_read_as_people_mean_them() -> Result<()> {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases"), 25)
}

#[test]
fn further_inputs_are_read_as_people_mean_them() -> Result<()> {
    let given = std::env::var_os("CEDM_CASES_DIR").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases");
    let Some(folder) = given.or_else(|| beside.is_dir().then_some(beside)) else {
        // The project's own inputs are of the same kinds, and are always there.
        eprintln!("no further cases: $CEDM_CASES_DIR names none");
        return Ok(());
    };
    check(&folder.join("data"), 1)
}

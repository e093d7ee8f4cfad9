//! A whole sweep from images to report, through every service; then the same sweep again, which
//! reuses every result.

use anyhow::Result;
use cedm_tests::{System, digits, events::Watch, logs};
use std::{collections::BTreeSet, time::Duration};

/// Every kind of job that this sweep needs, in the order of the pipeline.
const KINDS: [&str; 13] = [
    "import",
    "fit",
    "extract",
    "features",
    "neighbours",
    "cluster",
    "bound",
    "train",
    "sample",
    "sample_set",
    "measure",
    "reference",
    "score",
];

#[test]
fn a_sweep_runs_from_images_to_its_report_and_is_then_reused() -> Result<()> {
    let system = System::start()?;
    let submitted = digits::submit(&system, "tiny", digits::TINY)?;
    assert_eq!(submitted["attached"], false);
    assert!(
        Watch::on(&system, "tiny")?.end(Duration::from_secs(300))?,
        "the sweep did not complete"
    );

    let status = system.run_json(&["status", "tiny"])?;
    let outcome = &status["outcome"];
    assert_eq!(
        outcome["state"], "complete",
        "missing: {}",
        outcome["missing"]
    );
    assert!(
        outcome["answer"]["headline"]
            .as_str()
            .is_some_and(|line| !line.is_empty()),
        "no answer: {}",
        outcome["answer"]
    );
    let found: BTreeSet<&str> = outcome["lineage"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["kind"].as_str().unwrap())
        .collect();
    for kind in KINDS {
        assert!(found.contains(kind), "no {kind} job among {found:?}");
    }

    let out = system.home().join("report");
    let report = system.run_json(&["report", "tiny", "--out", &out.display().to_string()])?;
    assert_eq!(report["headline"], outcome["answer"]["headline"]);
    let html = std::fs::read_to_string(out.join("report.html"))?;
    assert!(
        html.contains("<svg") && html.contains("data:image/png;base64,"),
        "the report has no curve or no images"
    );
    assert!(
        !html.contains("src=\"http"),
        "the report is not self-contained"
    );

    // A sample set can be exported in every format.
    let nodes = outcome["lineage"].as_array().unwrap();
    let set = nodes
        .iter()
        .find(|node| node["kind"] == "sample_set")
        .unwrap()["key"]
        .as_str()
        .unwrap();
    for (name, key) in [("set.npz", set), ("set.zip", &set[..12]), ("set", set)] {
        let out = system.home().join(name);
        let exported = system.run_json(&["export", key, "--out", &out.display().to_string()])?;
        assert!(
            exported["count"].as_u64() > Some(0) && out.exists(),
            "{exported}"
        );
    }
    let first = system.home().join("set/0000000/0000000.png");
    assert!(first.exists(), "no {}", first.display());
    let failed = system.run(&[
        "export",
        set,
        "--out",
        &system.home().join("set.tar").display().to_string(),
    ])?;
    let error = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        error.contains("--out ends in .tar: expected .zip"),
        "{error}"
    );

    // The same file again attaches to the sweep; under another name every job is reused.
    assert_eq!(
        digits::submit(&system, "tiny", digits::TINY)?["attached"],
        true
    );
    digits::submit(
        &system,
        "again",
        &digits::TINY.replace("name = \"tiny\"", "name = \"again\""),
    )?;
    assert!(Watch::on(&system, "again")?.end(Duration::from_secs(60))?);
    let jobs = system.run_json(&["status", "again"])?["outcome"]["jobs"].clone();
    assert_eq!(jobs["done"], jobs["cached"], "work was done twice: {jobs}");
    assert_eq!(system.digests("again")?, system.digests("tiny")?);

    // Another spec under an existing name is an error that names the sweep.
    let changed = digits::TINY.replace("budget_kimg = 0.512", "budget_kimg = 1.024");
    let error = digits::submit(&system, "tiny", &changed)
        .unwrap_err()
        .to_string();
    assert!(error.contains("tiny"), "{error}");

    let fsck = system.run_json(&["fsck"])?;
    assert_eq!(fsck["broken"], serde_json::json!([]));
    assert!(fsck["objects"].as_u64() > Some(50), "{fsck}");
    let warnings = logs::unexpected_warnings(&system)?;
    assert!(
        warnings.is_empty(),
        "warnings in the logs:\n{}",
        warnings.join("\n")
    );
    Ok(())
}

#[test]
fn a_dry_run_submits_nothing() -> Result<()> {
    let system = System::start_with(&[
        "--workers",
        "extractor=0,clusterer=0,bounds=0,trainer=0,sampler=0,evaluator=0",
    ])?;
    system.run_json(&[
        "import",
        &digits::archive().display().to_string(),
        "--name",
        "digits",
        "--max-images",
        "64",
    ])?;
    let file = system.home().join("tiny.toml");
    std::fs::write(&file, digits::TINY)?;
    let plan = system.run_json(&["submit", &file.display().to_string(), "--dry-run"])?;
    assert!(
        plan["jobs"].as_array().is_some_and(|jobs| jobs.len() > 5),
        "{plan}"
    );
    assert!(
        !system.run(&["status", "tiny"])?.status.success(),
        "a dry run has submitted the sweep"
    );
    Ok(())
}

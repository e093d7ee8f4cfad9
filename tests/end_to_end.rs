//! The walk: images in, report out, through every room; then the same work again, which costs
//! nothing.

use anyhow::Result;
use cedm_tests::{System, digits, events::Watch, logs};
use std::{collections::BTreeSet, time::Duration};

/// Every kind of work that a whole sweep needs, in walking order.
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
fn images_walk_to_a_report() -> Result<()> {
    let system = System::start()?;
    let submitted = digits::submit(&system, "tiny", digits::TINY)?;
    assert_eq!(submitted["attached"], false);
    assert!(
        Watch::on(&system, "tiny")?.end(Duration::from_secs(300))?,
        "the sweep did not complete"
    );

    let status = system.ask(&["status", "tiny"])?;
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
    let report = system.ask(&["report", "tiny", "--out", &out.display().to_string()])?;
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

    // A sample set leaves the store in every form, with the same images.
    let nodes = outcome["lineage"].as_array().unwrap();
    let set = nodes
        .iter()
        .find(|node| node["kind"] == "sample_set")
        .unwrap()["key"]
        .as_str()
        .unwrap();
    for (name, key) in [("set.npz", set), ("set.zip", &set[..12]), ("set", set)] {
        let out = system.home().join(name);
        let said = system.ask(&["export", key, "--out", &out.display().to_string()])?;
        assert!(said["count"].as_u64() > Some(0) && out.exists(), "{said}");
    }
    let first = system.home().join("set/0000000/0000000.png");
    assert!(first.exists(), "no {}", first.display());
    let odd = system.run(&[
        "export",
        set,
        "--out",
        &system.home().join("set.tar").display().to_string(),
    ])?;
    let said = String::from_utf8_lossy(&odd.stderr).into_owned();
    assert!(said.contains("--out ends in .tar: expected .zip"), "{said}");

    // The same file again attaches; under another name every job is reused.
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
    let jobs = system.ask(&["status", "again"])?["outcome"]["jobs"].clone();
    assert_eq!(jobs["done"], jobs["cached"], "work was done twice: {jobs}");
    assert_eq!(system.digests("again")?, system.digests("tiny")?);

    // Another spec under a name that is taken is refused, and says so.
    let changed = digits::TINY.replace("budget_kimg = 0.512", "budget_kimg = 1.024");
    let refused = digits::submit(&system, "tiny", &changed)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("tiny"), "{refused}");

    let sound = system.ask(&["fsck"])?;
    assert_eq!(sound["broken"], serde_json::json!([]));
    assert!(sound["objects"].as_u64() > Some(50), "{sound}");
    let warnings = logs::unlisted_warnings(&system)?;
    assert!(
        warnings.is_empty(),
        "warnings in the logs:\n{}",
        warnings.join("\n")
    );
    Ok(())
}

#[test]
fn a_dry_run_changes_nothing() -> Result<()> {
    let system = System::start_with(&[
        "--workers",
        "extractor=0,clusterer=0,bounds=0,trainer=0,sampler=0,evaluator=0",
    ])?;
    system.ask(&[
        "import",
        &digits::archive().display().to_string(),
        "--name",
        "digits",
        "--max-images",
        "64",
    ])?;
    let file = system.home().join("tiny.toml");
    std::fs::write(&file, digits::TINY)?;
    let plan = system.ask(&["submit", &file.display().to_string(), "--dry-run"])?;
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

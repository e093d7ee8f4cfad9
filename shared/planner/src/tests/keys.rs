//! Job keys of complete plans: what an earlier build stored is found again by this one.
//!
//! `CEDM_BLESS=1 cargo test -p cedm-planner keys` writes the golden file anew, for a deliberate
//! change of the algorithm version or the parameters of a kind.

use super::{all, never, run};
use crate::{
    fixtures::{TOML, perform, second_import, sweep},
    plan,
};
use cedm_contract::{Digest, Kind, ObjectRef};
use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

/// Kind, key and roles of every job of a sweep that is driven to completion, in plan order.
fn lines(toml: &str) -> String {
    let (mut sweep, mut observed) = sweep("digits", toml);
    let stored: BTreeMap<String, ObjectRef> = sweep
        .spec
        .files()
        .into_iter()
        .map(|path| {
            let object = ObjectRef {
                object: format!("blob/{path}"),
                size: 7,
                digest: Digest::of(path.as_bytes()),
            };
            (path, object)
        })
        .collect();
    sweep.spec.store_files(&stored);
    if sweep.spec.test_set.is_some() {
        let test = second_import();
        sweep.test_images = Some(test.key.clone());
        observed.record(test);
    }
    run(&sweep, &mut observed, all, never);
    let plan = plan(&sweep, &observed);
    let report = plan.report().and_then(|node| node.job.clone());
    if let Some(report) = report {
        observed.record(perform(&report, &observed));
    }
    let mut text = String::new();
    for node in &crate::plan(&sweep, &observed).nodes {
        let Some(job) = &node.job else {
            writeln!(text, "{} {} no job {:?}", node.kind, node.id, node.state).unwrap();
            continue;
        };
        let roles: Vec<&str> = job.inputs.iter().map(|input| input.role.as_str()).collect();
        // The report's roles are the names of all nodes; its key holds them.
        let roles = if job.kind() == Kind::Report {
            String::new()
        } else {
            roles.join(" ")
        };
        writeln!(text, "{} {} [{roles}]", job.kind(), job.key).unwrap();
    }
    text
}

/// A sweep with every role but that of an adapted backbone.
fn everything() -> String {
    TOML.replacen(
        "set = \"digits\"",
        "set = \"digits\"\ntest_set = \"digits-test\"",
        1,
    )
    .replacen("[training]", "[neighbours]\npart_rows = 600\n[training]", 1)
    .replacen("start = 5", "start = 5\nseeds = 2\nlower_bound = true", 1)
    .replacen("sets = 2", "sets = 2\nuniform_sets = 1", 1)
    .replacen("dim = 16", "dim = 32", 1)
    .replacen(
        "\"precision\"",
        "\"precision\", \"auroc\", \"ct\", \"confidence\"",
        1,
    )
    .replacen(
        "[evaluation]",
        "[[clustering]]\nmethod = \"imported\"\nfile = \"ids.npy\"\nclusters = [7]\n\
         [[evaluation]]\nextractor = { name = \"dinov2_vitl14\", weights = \"w.pth\" }\n\
         metrics = [\"fd\"]\n[[evaluation]]",
        1,
    )
}

/// The features of an adapted backbone.
fn adapted() -> String {
    TOML.replacen(
        "name = \"pca\"\ndim = 32",
        "name = \"vit\"\nadapt = { epochs = 3 }",
        1,
    )
}

#[test]
fn complete_plans_keep_their_keys() {
    let mut found = String::new();
    for (name, toml) in [
        ("every role", everything()),
        ("adapted backbone", adapted()),
    ] {
        writeln!(found, "# {name}\n{}", lines(&toml)).unwrap();
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/keys.txt");
    if std::env::var_os("CEDM_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (at, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of {}", at + 1, path.display());
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

//! What may enter from outside: licences, sources and version requirements of all dependencies.

use crate::sources::printed;
use serde_json::Value;
use spdx::{Expression, LicenseItem};
use std::process::Command;

/// Licences under which a program of ours may be passed on without further duties than naming them.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Where crates may come from: a registry, whose packages have checksums in the lock file. A git
/// dependency has none.
const REGISTRY: &str = "registry+";

/// `cargo metadata` of the workspace with everything below it.
pub fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    let printed = printed(cargo.args(["metadata", "--format-version", "1", "--locked"]));
    serde_json::from_str(&printed).unwrap()
}

/// One sentence for every dependency that breaks a rule.
pub fn violations(metadata: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        match package["source"].as_str() {
            None => broken.extend(open_requirements(name, package)),
            Some(source) if source.starts_with(REGISTRY) => {
                broken.extend(licence_problem(name, package))
            }
            Some(other) => broken.push(format!("{name} comes from {other}, expected a registry")),
        }
    }
    broken
}

/// Requirements of our own crates that any version would satisfy.
fn open_requirements(name: &str, package: &Value) -> Vec<String> {
    let dependencies = package["dependencies"].as_array().unwrap();
    let open = dependencies
        .iter()
        .filter(|dependency| dependency["path"].is_null() && dependency["req"] == "*");
    open.map(|dependency| {
        format!(
            "{name} takes any version of {}: pin one",
            dependency["name"]
        )
    })
    .collect()
}

fn licence_problem(name: &str, package: &Value) -> Option<String> {
    let Some(text) = package["license"].as_str() else {
        return Some(format!("{name} names no licence"));
    };
    // Old manifests separate alternatives by a slash.
    let expression = match Expression::parse_mode(text, spdx::ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("{name}: licence `{text}`: {error}")),
    };
    let is_allowed = expression.evaluate(|requirement| match &requirement.license {
        LicenseItem::Spdx { id, .. } => LICENCES.contains(&id.name),
        LicenseItem::Other { .. } => false,
    });
    (!is_allowed).then(|| format!("{name}: licence `{text}` is not among {LICENCES:?}"))
}

#[test]
fn each_kind_of_violation_is_reported() {
    let broken = violations(&serde_json::json!({"packages": [
        {"name": "copyleft", "source": REGISTRY, "license": "GPL-3.0-only"},
        {"name": "silent", "source": REGISTRY},
        {"name": "forked", "source": "git+https://example.org/forked", "license": "MIT"},
        {"name": "ours", "source": null, "dependencies": [
            {"name": "anything", "req": "*"}, {"name": "neighbour", "req": "*", "path": "x"}]},
        {"name": "good", "source": REGISTRY, "license": "MIT/GPL-3.0-only"},
    ]}));
    let names: Vec<&str> = broken
        .iter()
        .map(|sentence| sentence.split([' ', ':']).next().unwrap())
        .collect();
    assert_eq!(
        names,
        ["copyleft", "silent", "forked", "ours"],
        "{broken:?}"
    );
}

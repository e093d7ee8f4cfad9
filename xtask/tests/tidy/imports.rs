//! Who imports whom, from `cargo metadata`.

use crate::dependencies::metadata;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The workspace's crates and everything below them, without what only tests need.
pub struct Workspace {
    members: BTreeMap<String, String>,
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Workspace {
    /// The workspace as `cargo metadata` describes it.
    pub fn read() -> Self {
        let metadata = metadata();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let names: BTreeMap<String, (String, String)> = list(&metadata["packages"])
            .iter()
            .map(|p| {
                (
                    text(&p["id"]),
                    (text(&p["name"]), text(&p["manifest_path"])),
                )
            })
            .collect();
        let members = list(&metadata["workspace_members"])
            .iter()
            .map(|id| names[id.as_str().unwrap()].clone())
            .collect();
        let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let edges = list(&node["deps"]).into_iter().filter(|edge| {
                list(&edge["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"] != "dev")
            });
            let targets = edges.map(|edge| names[edge["pkg"].as_str().unwrap()].0.clone());
            imports
                .entry(names[node["id"].as_str().unwrap()].0.clone())
                .or_default()
                .extend(targets);
        }
        Self { members, imports }
    }
    /// Names of our crates.
    pub fn members(&self) -> Vec<&str> {
        self.members.keys().map(String::as_str).collect()
    }
    /// Our crates without these.
    pub fn members_but(&self, without: &[&str]) -> Vec<&str> {
        self.members()
            .into_iter()
            .filter(|name| !without.contains(name))
            .collect()
    }
    /// Manifest path of one of our crates.
    pub fn folder(&self, member: &str) -> &str {
        &self.members[member]
    }
    /// Whether `name` names `other` among its dependencies.
    pub fn imports(&self, name: &str, other: &str) -> bool {
        self.imports
            .get(name)
            .is_some_and(|targets| targets.contains(other))
    }
    /// Our crates that name `other` among their dependencies.
    pub fn importers(&self, other: &str) -> Vec<String> {
        self.members
            .keys()
            .filter(|name| self.imports(name, other))
            .cloned()
            .collect()
    }
    /// Whether `name` builds on `other`, however far down.
    pub fn reaches(&self, name: &str, other: &str) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(at) = open.pop() {
            for next in self.imports.get(at).into_iter().flatten() {
                if next == other {
                    return true;
                }
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        false
    }
}

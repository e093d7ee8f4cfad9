//! The manifest of a fixture's folder, and the fixture's entry in it.

use super::vit::fill;
use crate::fixture::Fixture;
use anyhow::Context;
use cedm_nets::Weights;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};
use tch::Tensor;

/// A fixture's place in its folder.
pub struct Listing {
    root: PathBuf,
    /// Path below the root, with forward slashes.
    pub name: String,
    manifest: Value,
}

impl Listing {
    /// The listing that names this file; `None` when there is none above it.
    pub fn of(fixture: &Fixture) -> anyhow::Result<Option<Self>> {
        for root in fixture.path.ancestors().skip(1) {
            let path = root.join("manifest.json");
            if !path.is_file() {
                continue;
            }
            let manifest: Value = serde_json::from_slice(&std::fs::read(&path)?)
                .with_context(|| format!("read {}", path.display()))?;
            let name = fixture
                .path
                .strip_prefix(root)
                .unwrap_or(&fixture.path)
                .to_string_lossy()
                .replace('\\', "/");
            let listed = manifest["files"].get(&name).is_some() || fixture.path == path;
            return Ok((listed && manifest["cases"].is_object()).then(|| Self {
                root: root.to_owned(),
                name,
                manifest,
            }));
        }
        Ok(None)
    }

    /// Whether the file is the manifest itself.
    pub fn is_manifest(&self) -> bool {
        self.name == "manifest.json"
    }

    /// Folder of the file, with a slash at its end.
    pub fn folder(&self) -> &str {
        self.name.rfind('/').map_or("", |at| &self.name[..=at])
    }

    /// Names of the file's tensors with their shapes; empty for other files.
    pub fn tensors(&self) -> BTreeMap<&str, Vec<i64>> {
        self.tensors_of(&self.name)
    }

    /// The same for any listed file.
    pub fn tensors_of(&self, name: &str) -> BTreeMap<&str, Vec<i64>> {
        let shape = |value: &Value| {
            value[1]
                .as_array()
                .map(|sizes| sizes.iter().filter_map(Value::as_i64).collect())
                .unwrap_or_default()
        };
        let listed = self.manifest["files"][name]["tensors"].as_object();
        listed
            .map(|all| {
                all.iter()
                    .map(|(name, value)| (name.as_str(), shape(value)))
                    .collect()
            })
            .unwrap_or_default()
    }

    /// Names of all listed files that are there; a folder may carry a part of them.
    pub fn files(&self) -> Vec<&str> {
        let names = self.manifest["files"]
            .as_object()
            .map(|all| all.keys().map(String::as_str).collect::<Vec<_>>())
            .unwrap_or_default();
        names
            .into_iter()
            .filter(|name| self.path(name).is_file())
            .collect()
    }

    /// Names of the files in the same folder.
    pub fn siblings(&self) -> Vec<&str> {
        self.files()
            .into_iter()
            .filter(|name| name.starts_with(self.folder()) && *name != self.name)
            .collect()
    }

    /// The case of this file: the one whose name the path spells, as `vit/dino_tiny.io` does for
    /// `vit_dino_tiny`.
    pub fn case(&self) -> Option<&Value> {
        let spelt = self.stem().replace('/', "_");
        let folder = self.folder().trim_end_matches('/');
        let cases = &self.manifest["cases"];
        cases.get(&spelt).or_else(|| cases.get(folder))
    }

    /// Path without the extensions.
    pub fn stem(&self) -> &str {
        let file = self.folder().len();
        self.name[file..]
            .find('.')
            .map_or(&self.name, |at| &self.name[..file + at])
    }

    /// The listed file that holds the same case's weights.
    pub fn weights(&self) -> Option<String> {
        let name = format!("{}.weights.safetensors", self.stem());
        self.manifest["files"].get(&name).map(|_| name)
    }

    /// The weights that are listed for the same case.
    pub fn listed_weights(&self) -> anyhow::Result<Weights> {
        self.read_weights(&self.weights().context("no weights are listed beside it")?)
    }

    /// The weights that the rules of the table in the same folder fill in.
    pub fn filled_weights(&self) -> anyhow::Result<Weights> {
        let mut siblings = self.siblings().into_iter();
        let table = siblings.find(|name| name.ends_with("rule_table.json"));
        fill::weights(&self.json(table.context("no table of filled weights beside it")?)?)
    }

    /// Path of a listed file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Tensors of a listed file.
    pub fn read(&self, name: &str) -> anyhow::Result<HashMap<String, Tensor>> {
        Ok(cedm_torch::tensor_files::read(&self.path(name))?)
    }

    /// Weights of a listed file.
    pub fn read_weights(&self, name: &str) -> anyhow::Result<Weights> {
        Ok(Weights::read(&self.path(name))?)
    }

    /// Normalised images of this side that several cases share: the file whose only tensor is `x`.
    pub fn shared_input(&self, side: i64) -> anyhow::Result<Tensor> {
        let fits = |name: &&str| {
            self.tensors_of(name)
                .into_iter()
                .collect::<Vec<_>>()
                .as_slice()
                .iter()
                .all(|(key, shape)| *key == "x" && shape.last() == Some(&side))
        };
        let name = self
            .files()
            .into_iter()
            .find(|name| !self.tensors_of(name).is_empty() && fits(name));
        let name = name.with_context(|| format!("no shared input of side {side} is listed"))?;
        self.read(name)?
            .remove("x")
            .context("the shared input holds `x`")
    }

    /// JSON of a listed file.
    pub fn json(&self, name: &str) -> anyhow::Result<Value> {
        read_json(&self.path(name))
    }
}

/// The JSON value in a file.
pub fn read_json(path: &Path) -> anyhow::Result<Value> {
    serde_json::from_slice(&std::fs::read(path)?)
        .with_context(|| format!("read {}", path.display()))
}

/// An integer of a configuration.
pub fn integer(config: &Value, key: &str) -> anyhow::Result<i64> {
    config[key]
        .as_i64()
        .with_context(|| format!("the configuration has no integer `{key}`: {config}"))
}

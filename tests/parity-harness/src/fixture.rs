//! A fixture file with its metadata and tensors, and the outcome of its comparisons.

use anyhow::Context;
use cedm_tensor_files::TensorFile;
use cedm_torch::tensor_files;
use serde_json::Value;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use tch::{Kind, Tensor};

/// A computed number beside the reference's.
pub struct Comparison {
    /// What was compared, for people.
    pub what: String,
    /// Largest error found; 0 for exact agreement.
    pub error: f64,
    /// Largest error that passes.
    pub tolerance: f64,
}

impl Comparison {
    /// A comparison with its worst error and what is allowed.
    pub fn new(what: impl Into<String>, error: f64, tolerance: f64) -> Self {
        Self {
            what: what.into(),
            error,
            tolerance,
        }
    }
}

/// The outcome of checking one file.
pub enum Verdict {
    /// Not a fixture of this module.
    NotRecognised,
    /// Checked, with these outcomes.
    Checked(Vec<Comparison>),
    /// Holds weights or inputs that another file of the case names; checked there.
    PartOf(String),
}

/// One file of a fixture folder.
pub struct Fixture {
    /// The path of its file.
    pub path: PathBuf,
    /// String metadata of a safetensors file; empty for others.
    pub meta: HashMap<String, String>,
}

impl Fixture {
    /// Reads the metadata of `path`.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut meta = HashMap::new();
        if path.extension().is_some_and(|e| e == "safetensors") {
            let notes = TensorFile::open(path)?;
            let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
            meta = notes.notes().into_iter().map(owned).collect();
        }
        Ok(Self {
            path: path.to_owned(),
            meta,
        })
    }
    /// The extension of its file name.
    pub fn extension(&self) -> &str {
        self.path.extension().and_then(|e| e.to_str()).unwrap_or("")
    }
    /// A JSON value from its metadata.
    pub fn json(&self, key: &str) -> Option<Value> {
        let text = self.meta.get(key)?;
        // Python writes NaN and infinities as bare words, which are not JSON: they read as missing.
        let strict = || {
            [": NaN", ": Infinity", ": -Infinity"]
                .iter()
                .fold(text.clone(), |text, bare| text.replace(bare, ": null"))
        };
        serde_json::from_str(text)
            .or_else(|_| serde_json::from_str(&strict()))
            .ok()
    }
    /// All its tensors by name, on the CPU.
    pub fn tensors(&self) -> anyhow::Result<HashMap<String, Tensor>> {
        Ok(tensor_files::read(&self.path)?)
    }
    /// A file beside it.
    pub fn sibling(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }
}

/// The settings and tensors of a fixture whose metadata has a `config` that names its case.
pub struct Case {
    /// What the reference was computed with.
    pub config: Value,
    /// Inputs and expected values by name.
    pub tensors: HashMap<String, Tensor>,
}

impl Case {
    /// Reads the tensors of a fixture.
    pub fn open(fixture: &Fixture, config: Value) -> anyhow::Result<Self> {
        let tensors = fixture.tensors()?;
        Ok(Self { config, tensors })
    }
    /// A tensor that the fixture must have.
    pub fn tensor(&self, name: &str) -> anyhow::Result<&Tensor> {
        let found = self.tensors.get(name);
        found.with_context(|| format!("no tensor `{name}`"))
    }
    /// The integers of a tensor, in row-major order.
    pub fn integers(&self, name: &str) -> anyhow::Result<Vec<i64>> {
        let flat = self.tensor(name)?.to_kind(Kind::Int64).reshape([-1]);
        Ok(Vec::try_from(&flat)?)
    }
    /// The numbers of a tensor, in row-major order.
    pub fn floats(&self, name: &str) -> anyhow::Result<Vec<f64>> {
        let flat = self.tensor(name)?.to_kind(Kind::Double).reshape([-1]);
        Ok(Vec::try_from(&flat)?)
    }
}

/// Every fixture file below `dir`, sorted; README files are left out.
pub fn files_below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "README.md") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

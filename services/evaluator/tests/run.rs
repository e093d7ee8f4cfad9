//! `cedm-evaluator run` as a process: files in, JSON out, and one sentence for each error.

use cedm_torch::tensor_files;
use serde_json::Value;
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tch::{Device, Kind, Tensor};

#[path = "run/errors.rs"]
mod errors;
#[path = "run/scores.rs"]
mod scores;
#[path = "run/sets.rs"]
mod sets;

/// A temporary folder with image and feature files.
struct TestFolder {
    folder: tempfile::TempDir,
}

impl TestFolder {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Two sets of these numbers of images, `a.safetensors` and `b.safetensors`.
    fn pair(&self, a: i64, b: i64) -> (PathBuf, PathBuf) {
        (
            self.images("a.safetensors", a, 4, 0.0),
            self.images("b.safetensors", b, 4, 0.3),
        )
    }

    /// Writes a sample set of `count` grey images whose pixels are a sine of the given phase.
    fn images(&self, name: &str, count: i64, side: i64, phase: f64) -> PathBuf {
        let pixels = (Tensor::arange(count * side * side, (Kind::Double, Device::Cpu)) * 0.7391
            + phase)
            .sin()
            * 100.0
            + 128.0;
        let images = pixels.to_kind(Kind::Uint8).view([count, 1, side, side]);
        let path = self.path(name);
        tensor_files::write(&path, &[("images", images)], &[]).unwrap();
        path
    }

    fn features(&self, name: &str, rows: &Tensor) -> PathBuf {
        let path = self.path(name);
        tensor_files::write(&path, &[("features", rows)], &[]).unwrap();
        path
    }
}

/// One call of `cedm-evaluator run`.
#[derive(Clone)]
struct Run(Vec<OsString>);

impl Run {
    /// On this generated set.
    fn of(generated: &Path) -> Self {
        Self(Vec::new()).with("--generated", generated)
    }

    /// With one more option.
    fn with(mut self, option: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.extend([option.into(), value.as_ref().to_owned()]);
        self
    }

    fn against(self, reference: &Path) -> Self {
        self.with("--reference", reference)
    }

    fn by(self, extractor: &str) -> Self {
        self.with("--extractor", extractor)
    }

    fn metrics(self, names: &str) -> Self {
        self.with("--metrics", names)
    }

    /// What it prints, read as JSON.
    fn report(&self) -> Value {
        let output = self.output();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it says where it fails.
    fn error(&self) -> String {
        let output = self.output();
        assert!(
            !output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }

    fn output(&self) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cedm-evaluator"));
        command
            .arg("run")
            .args(&self.0)
            .env("CEDM_DEVICE", "cpu")
            .env("CEDM_THREADS", "1");
        command.output().unwrap()
    }
}

/// Writes the statistics of a set in the space of an extractor.
fn save_statistics(set: &Path, extractor: &str, out: &Path) {
    let run = Run::of(set).by(extractor).metrics("none");
    run.with("--save-stats", out).report();
}

fn value(report: &Value, metric: &str) -> f64 {
    report["scores"][metric]["value"]
        .as_f64()
        .unwrap_or_else(|| panic!("{metric}: {report}"))
}

/// Why a metric has no value.
fn missing<'r>(report: &'r Value, metric: &str) -> &'r str {
    let score = &report["scores"][metric];
    assert!(score["value"].is_null(), "{metric}: {report}");
    score["missing"].as_str().unwrap()
}

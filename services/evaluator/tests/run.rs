//! `cedm-evaluator run` as a process: files in, JSON out, and one sentence for each error.

use cedm_torch::tensor_files;
use serde_json::Value;
use std::{
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

fn evaluator(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cedm-evaluator"));
    command
        .arg("run")
        .args(arguments)
        .env("CEDM_DEVICE", "cpu")
        .env("CEDM_THREADS", "1");
    command.output().unwrap()
}

fn report(arguments: &[&str]) -> Value {
    let output = evaluator(arguments);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn error_of(arguments: &[&str]) -> String {
    let output = evaluator(arguments);
    assert!(
        !output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn value(report: &Value, metric: &str) -> f64 {
    report["scores"][metric]["value"]
        .as_f64()
        .unwrap_or_else(|| panic!("{metric}: {report}"))
}

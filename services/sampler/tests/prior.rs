//! `cedm-sampler run` draws labels as often as they occurred in training, from the weight file
//! alone; where it cannot know, it says so.

#![forbid(unsafe_code)]

#[path = "tiny/network.rs"]
mod tiny;

use cedm_diffusion::{Condition, weights};
use std::{
    path::Path,
    process::{Command, Output},
};
use tch::{Device, Kind, Tensor};
use tiny::parameters;

fn run(weights: &Path, shard: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cedm-sampler"));
    let count = ["run", "--steps", "2", "--count", "40", "--weights"];
    command.args(count).arg(weights).arg("--shard").arg(shard);
    command.args(more).env("CEDM_THREADS", "1");
    command.env("CEDM_DEVICE", "cpu").output().unwrap()
}

fn said(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    summary["networks"][0]["labels"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn labels(shard: &Path) -> Vec<i64> {
    let tensors = cedm_torch::tensor_files::read(shard).unwrap();
    Vec::try_from(&tensors["labels"]).unwrap()
}

#[test]
fn the_prior_travels_inside_the_weight_file() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, shard) = (
        folder.path().join("ema.safetensors"),
        folder.path().join("s"),
    );
    let (network, own) = parameters(2);
    // Label 1 is one image of ten thousand: drawn uniformly it would come about twenty times.
    let mut ids = vec![0; 9_999];
    ids.push(1);
    let condition = Condition::compact(&ids).unwrap();
    weights::save_conditioned(&weights, &network, &own, &condition).unwrap();
    let output = run(&weights, &shard, &[]);
    assert_eq!(said(&output), "the prior inside the weight file");
    assert_eq!(labels(&shard), [0; 40]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("uniform"), "{stderr}");
    // Asked for, uniform labels are no surprise.
    let output = run(&weights, &shard, &["--labels", "uniform"]);
    assert_eq!(said(&output), "uniform");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("not known"));
    assert!(labels(&shard).contains(&1));
}

#[test]
fn a_prior_that_nobody_knows_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, shard) = (
        folder.path().join("ema.safetensors"),
        folder.path().join("s"),
    );
    let (network, own) = parameters(2);
    weights::save(&weights, &network, &own).unwrap();
    let output = run(&weights, &shard, &[]);
    assert_eq!(said(&output), "uniform: the prior is not known");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("uniform: the prior is not known"),
        "{stderr}"
    );
}

#[test]
fn vectors_are_not_taken_for_labels() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, shard) = (
        folder.path().join("ema.safetensors"),
        folder.path().join("s"),
    );
    let (network, own) = parameters(3);
    let rows = Tensor::ones([5, 3], (Kind::Float, Device::Cpu));
    let condition = Condition::vectors(&rows).unwrap();
    weights::save_conditioned(&weights, &network, &own, &condition).unwrap();
    let output = run(&weights, &shard, &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && stderr.contains("condition.safetensors"),
        "{stderr}"
    );
}

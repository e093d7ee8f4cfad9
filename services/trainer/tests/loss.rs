//! `cedm-trainer loss` as a process: losses that follow from a formula, the effect of labels, and
//! errors.

use cedm_diffusion::{Architecture, Network, Parameters, weights};
use cedm_sweep::preset;
use cedm_torch::tensor_files;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tch::{Device, Kind, Tensor};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

fn trainer(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cedm-trainer"));
    command
        .args(arguments)
        .env("CEDM_THREADS", "1")
        .env("CEDM_DEVICE", "cpu");
    command.env_remove("RUST_BACKTRACE").output().unwrap()
}

fn loss(weights: &Path, data: &Path, more: &[&str]) -> Output {
    let files = [
        "loss",
        "--weights",
        weights.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ];
    trainer(&[&files[..], more].concat())
}

fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Uniform images of four classes, each a shade of grey: 40, 90, 140, 190.
fn greys(folder: &Path) -> PathBuf {
    let path = folder.join("data.safetensors");
    let labels = Tensor::arange(64, (Kind::Int64, Device::Cpu)).remainder(4i64);
    let images = (&labels * 50i64 + 40i64)
        .view([64, 1, 1, 1])
        .expand([64, 1, 8, 8], false);
    let images = images.to_kind(Kind::Uint8).contiguous();
    tensor_files::write(&path, &[("images", &images), ("labels", &labels)], &[]).unwrap();
    path
}

/// Weights of a small network for [`greys`], all of them `value`.
fn filled(folder: &Path, name: &str, value: f64) -> PathBuf {
    let mut spec = preset("tiny8").unwrap().network;
    spec.channels = 1;
    let network = Network::new(Architecture::try_from(&spec).unwrap()).unwrap();
    let mut parameters = Parameters::zeros(&network.layout, Kind::Float, Device::Cpu);
    parameters.flat += value;
    let file = folder.join(name);
    weights::save(&file, &network, &parameters).unwrap();
    file
}

/// Weights of a small network with labels, trained for thousands of images.
fn trained(data: &Path, out: &Path, kimg: &str) -> PathBuf {
    let files = [
        "--data",
        data.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    let run = ["run", "--preset", "tiny8", "--kimg", kimg, "--labels"];
    let summary = json(&trainer(&[&run[..], &files].concat()));
    PathBuf::from(summary["weights"].as_str().unwrap())
}

#[test]
fn a_network_of_zeros_has_the_loss_of_its_preconditioning() {
    let folder = tempfile::tempdir().unwrap();
    let data = greys(folder.path());
    let file = filled(folder.path(), "zeros.safetensors", 0.0);
    let measured = json(&loss(&file, &data, &["--levels", "7"]));
    assert_eq!(measured["images"], 64);

    // D(x) = c_skip x, so that the error is c_skip noise − (1 − c_skip) image (EDM table 1).
    let power = [40.0, 90.0, 140.0, 190.0]
        .map(|grey: f64| (grey / 127.5 - 1.0).powi(2))
        .iter()
        .sum::<f64>()
        / 4.0;
    let levels = measured["levels"].as_array().unwrap();
    assert_eq!(levels.len(), 7);
    for level in levels {
        let sigma = level["sigma"].as_f64().unwrap();
        let (noise, data) = (sigma * sigma, 0.25);
        let skip = data / (noise + data);
        let weight = (noise + data) / (noise * data);
        let expected = weight * (skip * skip * noise + (1.0 - skip).powi(2) * power);
        let found = level["loss"].as_f64().unwrap();
        // The noise is 4,096 normal draws, whose variance is 1 within a few percent.
        assert!(
            (found / expected - 1.0).abs() < 0.08,
            "sigma {sigma}: {found}, expected about {expected}"
        );
        // At high noise the loss depends on the image, at low noise on the noise alone.
        let error = level["standard_error"].as_f64().unwrap();
        assert!(
            error > 0.0 && error < 0.15 * found,
            "sigma {sigma}: {found} ± {error}"
        );
        assert!(level.get("other_labels").is_none() && level.get("against").is_none());
    }
}

#[test]
fn wrong_labels_raise_the_loss_where_labels_determine_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (greys(folder.path()), folder.path().join("out"));
    let file = trained(&data, &out, "6");
    let measured = json(&loss(&file, &data, &["--labels"]));
    let highest = &measured["levels"][0];
    let own = highest["loss"].as_f64().unwrap();
    let gain = highest["other_labels"]["difference"].as_f64().unwrap();
    assert!(
        gain > own,
        "{own} with the right labels, {gain} more with wrong ones"
    );
    // The noise levels of training are those in training.json.
    let of_training = |measured: &Value| measured["training"]["p_mean"].as_f64().unwrap();
    assert_eq!(of_training(&measured), -1.2);
    let elsewhere = json(&loss(
        &file,
        &data,
        &["--labels", "--levels", "1", "--p-mean", "-0.5"],
    ));
    assert_eq!(of_training(&elsewhere), -0.5);
    // The command is repeatable; with another batch it is equal to rounding.
    let again = json(&loss(&file, &data, &["--labels"]));
    assert_eq!(measured, again);
    let in_parts = json(&loss(&file, &data, &["--labels", "--batch", "24"]));
    let part = in_parts["levels"][0]["loss"].as_f64().unwrap();
    assert!((part / own - 1.0).abs() < 1e-4, "{part} and {own}");

    // Compared with an unconditional network it is better; with itself the difference is 0.
    let unconditional = folder.path().join("unconditional");
    let files = [
        "--data",
        data.to_str().unwrap(),
        "--out",
        unconditional.to_str().unwrap(),
    ];
    let trained = json(&trainer(
        &[&["run", "--preset", "tiny8", "--kimg", "6"], &files[..]].concat(),
    ));
    let other = trained["weights"].as_str().unwrap();
    let against = |other: &str| {
        json(&loss(
            &file,
            &data,
            &["--labels", "--levels", "2", "--against", other],
        ))["levels"][0]["against"]
            .clone()
    };
    let behind = against(other);
    let (difference, error) = (
        behind["difference"].as_f64().unwrap(),
        behind["standard_error"].as_f64().unwrap(),
    );
    assert!(difference < -5.0 * error && error > 0.0, "{behind}");
    assert!(behind["relative"].as_f64().unwrap() < -0.3, "{behind}");
    let itself = against(file.to_str().unwrap());
    assert_eq!(
        (
            itself["difference"].as_f64(),
            itself["standard_error"].as_f64()
        ),
        (Some(0.0), Some(0.0))
    );
}

#[test]
fn errors_name_the_option_or_file() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (greys(folder.path()), folder.path().join("out"));
    let file = trained(&data, &out, "0.1");
    let check_error = |data: &Path, more: &[&str], words: &[&str]| {
        let output = loss(&file, data, more);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && words.iter().all(|word| error.contains(word)),
            "{error}"
        );
    };
    check_error(&data, &[], &["takes 4 labels", "--ids"]);
    check_error(&data, &["--labels", "--images", "0"], &["--images is 0"]);
    check_error(&data, &["--labels", "--p-std", "0"], &["--p-std is 0"]);

    // Four labels, but not those of training.
    let other = folder.path().join("other.safetensors");
    let labels = Tensor::arange(64, (Kind::Int64, Device::Cpu)).remainder(4i64) + 3i64;
    let images = Tensor::zeros([64, 1, 8, 8], F32).to_kind(Kind::Uint8);
    tensor_files::write(&other, &[("images", &images), ("labels", &labels)], &[]).unwrap();
    check_error(
        &other,
        &["--labels"],
        &["of these images", "was trained without it"],
    );

    let wide = folder.path().join("wide.safetensors");
    let images = Tensor::zeros([64, 3, 4, 4], F32).to_kind(Kind::Uint8);
    tensor_files::write(&wide, &[("images", &images)], &[]).unwrap();
    check_error(
        &wide,
        &[],
        &["holds 4×4 images of 3 channels", "takes 8×8 of 1"],
    );
    let empty = folder.path().join("empty.safetensors");
    let images = Tensor::zeros([0, 1, 8, 8], F32).to_kind(Kind::Uint8);
    tensor_files::write(&empty, &[("images", &images)], &[]).unwrap();
    check_error(&empty, &[], &["empty.safetensors", "0 images"]);
}

#[test]
fn a_loss_that_is_nan_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = greys(folder.path());
    let file = filled(folder.path(), "broken.safetensors", f64::NAN);
    let output = loss(&file, &data, &[]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && error.contains("broken.safetensors at noise level 80"),
        "{error}"
    );
}

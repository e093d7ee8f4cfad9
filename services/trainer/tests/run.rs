//! `cedm-trainer run` as a process: files in, weights out, resuming after interruptions, and
//! errors.

use cedm_diffusion::weights;
use cedm_torch::tensor_files;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    io::Read,
    path::Path,
    process::{Command, Output, Stdio},
};
use tch::{Device, Kind, Tensor};

fn data(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("data.safetensors");
    let images = (Tensor::arange(40 * 64, (Kind::Int64, Device::Cpu)) * 7i64)
        .remainder(251i64)
        .to_kind(Kind::Uint8)
        .view([40, 1, 8, 8]);
    let labels = Tensor::arange(40, (Kind::Int64, Device::Cpu)).remainder(4i64);
    tensor_files::write(&path, &[("images", &images), ("labels", &labels)], &[]).unwrap();
    path
}

fn run(data: &Path, out: &Path, more: &[&str]) -> Output {
    command(data, out, more).output().unwrap()
}

fn command(data: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cedm-trainer"));
    command
        .args(["run", "--preset", "tiny8", "--data"])
        .arg(data)
        .arg("--out")
        .arg(out)
        .args(more);
    command
        .env("CEDM_THREADS", "1")
        .env("CEDM_DEVICE", "cpu")
        .env_remove("RUST_BACKTRACE");
    command
}

/// Starts a run, sends the signal as soon as it has trained on `images` of the segment, and returns
/// its standard error.
fn interrupted(mut command: Command, images: u64, signal: Signal) -> String {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stderr_text, mut sent) = (Vec::new(), false);
    let mut stderr = child.stderr.take().unwrap();
    let mut byte = [0];
    while stderr.read(&mut byte).unwrap() == 1 {
        stderr_text.push(byte[0]);
        // "…\r<done>/<total> images, …"
        if !sent && byte[0] == b'/' {
            let text = String::from_utf8_lossy(&stderr_text).into_owned();
            let done = text
                .rsplit(['\r', '\n'])
                .next()
                .and_then(|line| line.trim_end_matches('/').parse::<u64>().ok());
            if done.is_some_and(|done| done >= images) {
                kill(Pid::from_raw(child.id() as i32), signal).unwrap();
                sent = true;
            }
        }
    }
    assert!(
        sent,
        "the run was over before it could be interrupted: {}",
        String::from_utf8_lossy(&stderr_text)
    );
    assert!(!child.wait().unwrap().success());
    String::from_utf8_lossy(&stderr_text).into_owned()
}

fn succeed(output: Output) -> serde_json::Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_longer_budget_extends_a_finished_run() {
    let folder = tempfile::tempdir().unwrap();
    let (data, one, two) = (
        data(folder.path()),
        folder.path().join("one"),
        folder.path().join("two"),
    );
    let whole = succeed(run(
        &data,
        &one,
        &["--labels", "--kimg", "0.192", "--snapshot-kimg", "0.096"],
    ));
    assert_eq!(
        (
            whole["nimg"].as_u64(),
            whole["steps"].as_u64(),
            whole["label_dim"].as_u64()
        ),
        (Some(192), Some(6), Some(4))
    );
    succeed(run(&data, &two, &["--labels", "--kimg", "0.096"]));
    let longer = succeed(run(&data, &two, &["--labels", "--kimg", "0.192"]));
    assert_eq!(longer["nimg"], 192);
    for file in [
        "state.safetensors",
        "ema-000000096.safetensors",
        "ema-000000192.safetensors",
    ] {
        assert!(
            std::fs::read(one.join(file)).unwrap() == std::fs::read(two.join(file)).unwrap(),
            "{file} differs"
        );
    }
    let network = weights::recognise(
        &tensor_files::read(&one.join("ema-000000192.safetensors")).unwrap(),
        "ema",
    )
    .unwrap();
    assert_eq!(
        (network.label_dim, network.channels, network.resolution),
        (4, 1, 8)
    );
    let curve: serde_json::Value =
        serde_json::from_slice(&std::fs::read(one.join("curve-000000192.json")).unwrap()).unwrap();
    assert_eq!(curve["loss"].as_array().unwrap().len(), 3);
    // Repeating the command of a finished run changes nothing.
    assert_eq!(
        succeed(run(&data, &one, &["--labels", "--kimg", "0.192"]))["nimg"],
        192
    );
}

#[test]
fn errors_are_one_sentence_that_names_the_option_or_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let says = |out: &str, more: &[&str]| {
        let output = run(&data, &folder.path().join(out), more);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(
        says("a", &["--kimg", "0"])
            .contains("--kimg is 0: expected at least one batch of 32 images")
    );
    assert!(
        says("a", &["--snapshot-kimg", "0"])
            .contains("--snapshot-kimg is 0: expected at least one batch")
    );
    assert!(
        says("a", &["--checkpoint-s=-1"])
            .contains("--checkpoint-s is -1: expected seconds of at least 0")
    );
    assert!(
        says("a", &["--set", "network.label_dim=4"])
            .contains("--set network.label_dim: cannot be set, it follows from the condition")
    );
    assert!(says("b", &["--text-embeddings", "t.npy"]).contains("--image-embeddings <FILE>"));
    assert!(says("b", &["--coarse-labels"]).contains("the data set has no coarse label"));
    assert!(says("c", &["--set", "network.channel_mult=[]"]).contains("`channel_mult` is []"));
    // By the rules of a sweep file.
    assert!(
        says("c2", &["--set", "augment.xflip=-1"]).contains("`xflip` is -1: expected at least 0")
    );
    let ids = folder.path().join("ids.safetensors");
    tensor_files::write(
        &ids,
        &[("ids", &Tensor::zeros([7], (Kind::Int64, Device::Cpu)))],
        &[],
    )
    .unwrap();
    let ids = ids.to_str().unwrap().to_owned();
    assert!(says("d", &["--ids", &ids]).contains("7 rows, expected one for each of the 40 images"));
    succeed(run(&data, &folder.path().join("e"), &["--kimg", "0.032"]));
    let record = std::fs::read(folder.path().join("e/training.json")).unwrap();
    assert!(
        says("e", &["--kimg", "0.064", "--seed", "5"]).contains("the folder holds another run")
    );
    assert!(
        says("e", &["--kimg", "0.064", "--labels"])
            .contains("its network.label_dim is 0, this run's is 4")
    );
    assert!(
        std::fs::read(folder.path().join("e/training.json")).unwrap() == record,
        "a rejected run changes nothing"
    );
    assert!(
        says(
            "f",
            &[
                "--kimg",
                "0.1",
                "--set",
                "optimiser.lr=1e30",
                "--set",
                "optimiser.lr_rampup_kimg=0"
            ]
        )
        .contains("the loss became")
    );
}

#[test]
fn an_unfinished_run_has_its_curve_and_rejects_other_settings() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (data(folder.path()), folder.path().join("out"));
    // A budget that is not a whole number of batches is rounded up to one (spec §7.5).
    let more = ["--labels", "--kimg", "7.99"];
    let stderr_text = interrupted(command(&data, &out, &more), 4_500, Signal::SIGINT);
    assert!(
        stderr_text.contains(" kimg: loss 0.") && stderr_text.contains("images/s"),
        "{stderr_text}"
    );
    let curve: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("curve-000008000.json")).unwrap()).unwrap();
    let seen = curve["kimg"].as_array().unwrap().len();
    assert!((20..50).contains(&seen), "{seen} of 50 ticks");
    let condition = tensor_files::read(&out.join("condition.safetensors")).unwrap();
    assert_eq!(
        Vec::<i64>::try_from(&condition["raw_ids"]).unwrap(),
        [0, 1, 2, 3]
    );

    let record = std::fs::read(out.join("training.json")).unwrap();
    let other = run(&data, &out, &[&more[..], &["--seed", "5"]].concat());
    let stderr_text = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        stderr_text.contains("the folder holds another run")
            && stderr_text.contains("its seed is 0, this run's is 5"),
        "{stderr_text}"
    );
    assert!(
        std::fs::read(out.join("training.json")).unwrap() == record,
        "a rejected run changes nothing"
    );

    // The interval of snapshots may be reduced when a run is resumed.
    let done = succeed(run(
        &data,
        &out,
        &[&more[..], &["--snapshot-kimg", "1.6"]].concat(),
    ));
    assert_eq!(done["nimg"], 8_000);
    assert!(
        !out.join("ema-000003200.safetensors").exists()
            && out.join("ema-000006400.safetensors").exists()
    );
}

#[test]
fn a_run_killed_several_times_ends_on_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, whole, killed) = (
        data(folder.path()),
        folder.path().join("whole"),
        folder.path().join("killed"),
    );
    let more = [
        "--labels",
        "--kimg",
        "8",
        "--snapshot-kimg",
        "4",
        "--set",
        "network.dropout=0.1",
    ];
    succeed(run(&data, &whole, &more));
    let stopped = |images, signal| interrupted(command(&data, &killed, &more), images, signal);
    let stderr_text = stopped(64, Signal::SIGINT);
    assert!(
        stderr_text.contains("repeat the command to resume from there"),
        "{stderr_text}"
    );
    let checkpoints = || {
        std::fs::read_dir(killed.join("checkpoints"))
            .unwrap()
            .count()
    };
    assert_eq!(checkpoints(), 1);
    stopped(1_000, Signal::SIGKILL);
    stopped(1_500, Signal::SIGINT);
    assert_eq!(checkpoints(), 1);
    succeed(run(&data, &killed, &more));
    let names = |out: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&whole), names(&killed), "no temporary files are left");
    for file in [
        "state.safetensors",
        "ema-000004000.safetensors",
        "ema-000008000.safetensors",
        "condition.safetensors",
    ] {
        assert!(
            std::fs::read(whole.join(file)).unwrap() == std::fs::read(killed.join(file)).unwrap(),
            "{file} differs"
        );
    }
}

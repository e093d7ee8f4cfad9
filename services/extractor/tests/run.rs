//! The commands over plain files, as a user runs them: the digits that ship with the project.

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tch::Tensor;

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/demo/digits-8x8.zip")
}
fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cedm-extractor"))
        .args(args)
        .env("CEDM_DEVICE", "cpu")
        .output()
        .unwrap()
}
fn summary(args: &[&str]) -> Value {
    let out = run(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}
fn failure(args: &[&str]) -> String {
    let out = run(args);
    assert!(!out.status.success(), "{args:?} should fail");
    String::from_utf8_lossy(&out.stderr).into_owned()
}
fn tensors(path: &Path) -> std::collections::BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

#[test]
fn features_of_an_archive_and_of_its_shards_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (archive, direct, sharded, shards) = (text(&digits()), at("direct.safetensors"), at("sharded.safetensors"), at("shards"));
    let found = summary(&["run", &archive, "--extractor", "pca", "--dim", "12", "--out", &text(&direct)]);
    assert_eq!((found["count"].as_u64(), found["dim"].as_u64()), (Some(1797), Some(12)));
    let imported = summary(&["import", &archive, "--out", &text(&shards), "--shard-size", "211"]);
    assert_eq!(
        (
            imported["count"].as_u64(),
            imported["classes"].as_u64(),
            imported["shards"].as_u64()
        ),
        (Some(1797), Some(10), Some(9))
    );
    assert_eq!(imported["content"], found["images"]);
    summary(&["run", &text(&shards), "--extractor", "pca", "--dim", "12", "--out", &text(&sharded)]);
    let (direct, sharded) = (tensors(&direct), tensors(&sharded));
    assert!(direct["features"].equal(&sharded["features"]), "the cut changes nothing");
    assert!(direct["labels"].equal(&sharded["labels"]));
    assert_eq!(direct["labels"].size(), [1797]);
}

#[test]
fn npy_holds_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (npy, safetensors) = (folder.path().join("f.npy"), folder.path().join("f.safetensors"));
    for out in [&npy, &safetensors] {
        summary(&[
            "run",
            digits().to_str().unwrap(),
            "--extractor",
            "pixels",
            "--max-images",
            "50",
            "--out",
            out.to_str().unwrap(),
        ]);
    }
    let read = npyz::NpyFile::new(std::fs::File::open(&npy).unwrap()).unwrap();
    assert_eq!(read.shape(), [50, 64]);
    let values: Vec<f32> = read.into_vec().unwrap();
    assert_eq!(values, Vec::<f32>::try_from(tensors(&safetensors)["features"].view([-1])).unwrap());
}

#[test]
fn mistakes_are_told_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("f.safetensors");
    let (archive, out_text) = (digits(), out.to_str().unwrap());
    let archive = archive.to_str().unwrap();
    for (args, expect) in [
        (
            vec!["run", archive, "--extractor", "dino", "--out", out_text],
            "there is no such extractor; known are pixels, pca",
        ),
        (
            vec!["run", archive, "--extractor", "dino_vitb16", "--out", out_text],
            "needs a weight file",
        ),
        (
            vec![
                "run",
                archive,
                "--extractor",
                "cifar_resnet56",
                "--weights",
                archive,
                "--out",
                out_text,
            ],
            "no PyTorch file",
        ),
        (
            vec!["run", archive, "--extractor", "pixels", "--out", "f.csv"],
            "expected a name that ends in .safetensors or .npy",
        ),
        (
            vec!["run", "/nowhere.zip", "--extractor", "pixels", "--out", out_text],
            "/nowhere.zip",
        ),
        (
            vec![
                "import",
                archive,
                "--out",
                folder.path().join("x").to_str().unwrap(),
                "--resolution",
                "0",
            ],
            "expected 64 or 128x96",
        ),
    ] {
        let error = failure(&args);
        assert!(error.contains(expect), "{args:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

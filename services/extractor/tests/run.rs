//! The commands for plain files as a user runs them, on the digits that ship with the project.

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
    assert!(
        out.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).unwrap()
}
fn failure(args: &[&str]) -> String {
    let out = run(args);
    assert!(!out.status.success(), "{args:?} should fail");
    String::from_utf8_lossy(&out.stderr).into_owned()
}
fn tensors(path: &Path) -> std::collections::HashMap<String, Tensor> {
    cedm_torch::tensor_files::read(path).unwrap()
}

#[test]
fn features_of_an_archive_and_of_its_shards_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (archive, direct, sharded, shards) = (
        text(&digits()),
        at("direct.safetensors"),
        at("sharded.safetensors"),
        at("shards"),
    );
    let found = summary(&[
        "run",
        &archive,
        "--extractor",
        "pca",
        "--dim",
        "12",
        "--out",
        &text(&direct),
    ]);
    assert_eq!(
        (found["count"].as_u64(), found["dim"].as_u64()),
        (Some(1797), Some(12))
    );
    let imported = summary(&[
        "import",
        &archive,
        "--out",
        &text(&shards),
        "--shard-size",
        "211",
    ]);
    assert_eq!(
        (
            imported["count"].as_u64(),
            imported["classes"].as_u64(),
            imported["shards"].as_u64()
        ),
        (Some(1797), Some(10), Some(9))
    );
    assert_eq!(imported["content"], found["images"]);
    summary(&[
        "run",
        &text(&shards),
        "--extractor",
        "pca",
        "--dim",
        "12",
        "--out",
        &text(&sharded),
    ]);
    let (direct, sharded) = (tensors(&direct), tensors(&sharded));
    assert!(
        direct["features"].equal(&sharded["features"]),
        "the shard size changes nothing"
    );
    assert!(direct["labels"].equal(&sharded["labels"]));
    assert_eq!(direct["labels"].size(), [1797]);
}

#[test]
fn npy_and_safetensors_hold_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (npy, safetensors) = (
        folder.path().join("f.npy"),
        folder.path().join("f.safetensors"),
    );
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
    assert_eq!(
        values,
        Vec::<f32>::try_from(tensors(&safetensors)["features"].view([-1])).unwrap()
    );
}

#[test]
fn errors_are_reported_and_leave_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("f.safetensors");
    let (archive, out_text) = (digits(), out.to_str().unwrap());
    let archive = archive.to_str().unwrap();
    for (args, expect) in [
        (
            vec!["run", archive, "--extractor", "dino", "--out", out_text],
            "does not exist; known are pixels, pca",
        ),
        (
            vec![
                "run",
                archive,
                "--extractor",
                "dino_vitb16",
                "--out",
                out_text,
            ],
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
            "not a PyTorch file",
        ),
        (
            vec!["run", archive, "--extractor", "pixels", "--out", "f.csv"],
            "expected a name that ends in .safetensors or .npy",
        ),
        (
            vec![
                "run",
                "/nowhere.zip",
                "--extractor",
                "pixels",
                "--out",
                out_text,
            ],
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
            "expected a resolution such as 32 or 32x24",
        ),
    ] {
        let error = failure(&args);
        assert!(error.contains(expect), "{args:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn exports_read_back_and_uris_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let archive = digits().to_str().unwrap().to_owned();
    let imported = summary(&[
        "import",
        &archive,
        "--out",
        &text("set"),
        "--shard-size",
        "500",
    ]);
    let exported = summary(&["export", &text("set"), "--out", &text("back.zip")]);
    assert_eq!(exported["content"], imported["content"]);
    let again = summary(&["import", &text("back.zip"), "--out", &text("again")]);
    assert_eq!(
        (&again["content"], &again["classes"]),
        (&imported["content"], &imported["classes"])
    );
    let error = failure(&["import", "https://host/set.zip", "--out", &text("x")]);
    assert!(
        error.contains("expected a path or s3://bucket/key"),
        "{error}"
    );
    let error = failure(&["import", "s3://bucket", "--out", &text("x")]);
    assert!(
        error.contains("s3://bucket`: expected s3://bucket/key"),
        "{error}"
    );
    assert!(!folder.path().join("x").exists());
}

/// The shell's limit on file sizes stands for a full disk: writes fail in the same place.
#[test]
fn an_import_fails_on_a_full_disk_and_continues_later() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, out) = (digits(), folder.path().join("set"));
    let program = env!("CARGO_BIN_EXE_cedm-extractor");
    let command = format!(
        "trap '' XFSZ; ulimit -f 64; exec '{program}' import '{}' --out '{}' --shard-size 1000",
        archive.display(),
        out.display()
    );
    let stopped = Command::new("bash")
        .args(["-c", &command])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(
        !stopped.status.success(),
        "64 KiB are less than one shard of this set"
    );
    assert!(
        error.contains("shard-00000.safetensors") && error.contains("too large"),
        "{error}"
    );
    assert!(!out.exists(), "the result is visible only when complete");
    let imported = summary(&[
        "import",
        archive.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--shard-size",
        "1000",
    ]);
    assert_eq!(imported["count"], 1797);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "the unfinished folder is gone"
    );
}

#[test]
fn a_small_network_is_trained_and_its_features_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let archive = digits().to_str().unwrap().to_owned();
    let adapt = |out: &str, extra: &[&str]| {
        let given = [
            "adapt",
            &archive,
            "--out",
            out,
            "--max-images",
            "256",
            "--fresh",
            "8",
            "4",
            "16",
            "1",
            "2",
        ];
        let sizes = [
            "--epochs",
            "1",
            "--local-crops",
            "1",
            "--local-size",
            "4",
            "--head",
            "16",
            "8",
            "16",
        ];
        summary(&[&given[..], &sizes, extra].concat())
    };
    let found = adapt(&text("vit.safetensors"), &[]);
    assert_eq!(
        (found["steps"].as_u64(), found["dim"].as_u64()),
        (Some(4), Some(16))
    );
    // The backbone of one run is the start of another.
    let again = adapt(
        &text("more.safetensors"),
        &["--weights", &text("vit.safetensors"), "--seed", "3"],
    );
    assert_eq!(again["dim"], found["dim"]);
    let features = text("features.safetensors");
    let run = summary(&[
        "run",
        &archive,
        "--extractor",
        "vit",
        "--weights",
        &text("more.safetensors"),
        "--out",
        &features,
    ]);
    assert_eq!(
        (run["dim"].as_u64(), run["count"].as_u64()),
        (Some(16), Some(1797))
    );
    let judged = summary(&["evaluate-features", &features]);
    for accuracy in ["knn_accuracy", "linear_probe_accuracy"] {
        let found = judged[accuracy].as_f64().unwrap();
        assert!(
            (0.2..=1.0).contains(&found),
            "{accuracy} {found}: chance is 0.1"
        );
    }
    let error = failure(&["judge", &features, "--k", "1797"]);
    assert!(error.contains("k is 1797, expected 1 to 1796"), "{error}");
    let error = failure(&[
        "adapt",
        &archive,
        "--extractor",
        "pca",
        "--out",
        &text("x.safetensors"),
    ]);
    assert!(
        error.contains("`pca` is not a vision transformer"),
        "{error}"
    );
}

#[test]
fn labels_from_text_need_a_clip_and_class_names() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let archive = digits().to_str().unwrap().to_owned();
    let label = |extra: &[&str]| {
        failure(
            &[
                &[
                    "label",
                    &archive,
                    "--weights",
                    "w.pt",
                    "--out",
                    &text("l.npy"),
                ][..],
                extra,
            ]
            .concat(),
        )
    };
    assert!(
        label(&["--text-embeddings", "t.npy", "--extractor", "pca"])
            .contains("it has no text tower")
    );
    assert!(
        label(&[]).contains("--vocabulary"),
        "either a vocabulary or embeddings"
    );
    assert!(
        label(&["--text-embeddings", "t.npy"])
            .contains("the image set has no class names: give them with --classes")
    );
    std::fs::write(text("names"), "\n \n").unwrap();
    assert!(
        label(&["--text-embeddings", "t.npy", "--classes", &text("names")])
            .contains("no class name found")
    );
    assert!(!folder.path().join("l.npy").exists());
}

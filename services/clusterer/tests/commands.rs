//! The commands of `cedm-clusterer` for plain files, as processes.

use cedm_torch::tensor_files;
use serde_json::Value;
use std::{path::Path, process::Command};
use tch::{Device, Kind, Tensor};

#[path = "commands/errors.rs"]
mod errors;
#[path = "commands/resume.rs"]
mod resume;

fn cedm_clusterer(args: &[&str]) -> Result<Value, String> {
    let out = Command::new(env!("CARGO_BIN_EXE_cedm-clusterer"))
        .args(args)
        .env("CEDM_DEVICE", "cpu")
        .env("CEDM_THREADS", "1")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stderr).unwrap();
    if out.status.success() {
        Ok(serde_json::from_slice(&out.stdout).unwrap())
    } else {
        Err(text)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Four directions with noise, 30 rows each, and their labels.
fn write_data(folder: &Path, kind: Kind) {
    let noise = (Tensor::arange(120 * 8, (Kind::Float, Device::Cpu)) * 12.9898)
        .sin()
        .view([120, 8])
        * 0.3;
    let centres = (Tensor::arange(4 * 8, (Kind::Float, Device::Cpu)) * 1.3)
        .cos()
        .view([4, 8])
        * 2.0;
    let features = (noise + centres.repeat([30, 1])).to_kind(kind);
    let labels = Tensor::arange(120, (Kind::Int64, Device::Cpu)).remainder(4);
    tensor_files::write(
        &folder.join("features.safetensors"),
        &[("features", features)],
        &[],
    )
    .unwrap();
    tensor_files::write(
        &folder.join("labels.safetensors"),
        &[("labels", labels)],
        &[],
    )
    .unwrap();
}

const TEMI: &str = r#"{"heads": 2, "hidden": 32, "bottleneck": 16, "epochs": 15, "batch": 40, "base_lr": 0.02, "warmup_epochs": 1,
    "teacher_momentum": 0.9, "teacher_momentum_end": 0.9, "neighbours": 10}"#;

#[test]
fn cluster_then_export_then_import() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), Kind::Half);
    let (features, labels) = (
        folder.path().join("features.safetensors"),
        folder.path().join("labels.safetensors"),
    );
    let neighbours = folder.path().join("neighbours.safetensors");
    let found = cedm_clusterer(&[
        "neighbours",
        "--features",
        text(&features),
        "-k",
        "10",
        "--out",
        text(&neighbours),
    ])
    .unwrap();
    assert_eq!(
        (found["count"].as_u64(), found["k"].as_u64()),
        (Some(120), Some(10))
    );

    let out = folder.path().join("temi");
    let base = [
        "run",
        "--features",
        text(&features),
        "--labels",
        text(&labels),
        "--clusters",
        "4",
        "--out",
        text(&out),
    ];
    let with_neighbours = [
        &base[..],
        &["--settings", TEMI, "--neighbours", text(&neighbours)],
    ]
    .concat();
    let temi = cedm_clusterer(&with_neighbours).unwrap();
    assert!(temi["quality"]["anmi"].as_f64().unwrap() > 0.6, "{temi}");
    assert_eq!(
        temi["utilisation"].as_f64().unwrap(),
        temi["used"].as_f64().unwrap() / 4.0
    );
    assert!(
        temi["mean_confidence"].as_f64().is_some()
            && temi["neighbour_agreement"].as_f64().is_some()
    );
    let again = cedm_clusterer(&with_neighbours).unwrap();
    assert_eq!(
        (&temi["best_head"], &temi["quality"]),
        (&again["best_head"], &again["quality"])
    );

    let kmeans = cedm_clusterer(&[&base[..], &["--method", "kmeans"]].concat()).unwrap();
    assert!(
        kmeans["inertia"].as_f64().unwrap() > 0.0
            && kmeans["quality"]["acc"].as_f64().unwrap() > 0.99,
        "{kmeans}"
    );

    let published = folder.path().join("published");
    let ids = out.join("assignments.safetensors");
    let export = [
        "export",
        "--ids",
        text(&ids),
        "--out",
        text(&published),
        "--clusters",
        "4",
    ];
    let exported =
        cedm_clusterer(&[&export[..], &["--backbone", "pixels", "--beta", "0.6"]].concat())
            .unwrap();
    let pt = Path::new(exported["folder"].as_str().unwrap()).join("cluster_ids.pt");
    assert!(pt.ends_with("TEMI-pixels/clusters_4/beta-0.6/cluster_ids.pt"));
    let import = [
        "run",
        "--method",
        "imported",
        "--clusters",
        "4",
        "--ids",
        text(&pt),
        "--labels",
        text(&labels),
        "--out",
        text(&published),
    ];
    let imported = cedm_clusterer(&import).unwrap();
    assert_eq!(imported["quality"], kmeans["quality"]);
    cedm_clusterer(&export).unwrap();
    assert_eq!(
        cedm_clusterer_ids(&published.join("raw_ids.npy")),
        cedm_clusterer_ids(&pt)
    );
}

fn cedm_clusterer_ids(path: &Path) -> Vec<i64> {
    cedm_clusterer::read_ids(path).unwrap()
}

#[test]
fn one_file_may_hold_labels_and_features_of_any_type() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), Kind::Float);
    let read = |name: &str| {
        let file = folder.path().join(format!("{name}.safetensors"));
        tensor_files::read_one(&file, name).unwrap()
    };
    let (features, labels) = (read("features"), read("labels"));
    let both = folder.path().join("both.safetensors");
    let arrays = [
        ("features", features.to_kind(Kind::Half)),
        ("double", features.to_kind(Kind::Double)),
        ("labels", labels),
    ];
    tensor_files::write(&both, &arrays, &[]).unwrap();
    for (settings, array) in [
        ("{}", "features"),
        ("{}", "double"),
        (r#"{"mini_batch": 60}"#, "features"),
        (r#"{"mini_batch": 60}"#, "double"),
    ] {
        let out = folder.path().join("out");
        let args = [
            "run",
            "--method",
            "kmeans",
            "--clusters",
            "4",
            "--features",
            text(&both),
            "--labels",
            text(&both),
        ];
        let found = cedm_clusterer(
            &[
                &args[..],
                &[
                    "--settings",
                    settings,
                    "--array",
                    array,
                    "--out",
                    text(&out),
                ],
            ]
            .concat(),
        )
        .unwrap();
        assert!(
            found["quality"]["acc"].as_f64().unwrap() > 0.7,
            "{settings} {array}: {found}"
        );
        assert!(
            found["neighbour_agreement"].as_f64().unwrap() > 0.4,
            "{settings} {array}: {found}"
        );
    }
}

#[test]
fn equal_rows_give_fewer_clusters_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let features = folder.path().join("features.safetensors");
    let cluster = |rows: Tensor, method: &[&str]| -> serde_json::Value {
        tensor_files::write(&features, &[("features", rows)], &[]).unwrap();
        let out = folder.path().join("out");
        let output = Command::new(env!("CARGO_BIN_EXE_cedm-clusterer"))
            .args([
                "run",
                "--features",
                text(&features),
                "--out",
                text(&out),
                "--clusters",
                "6",
            ])
            .args(method)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let settings = r#"{"heads": 2, "hidden": 8, "bottleneck": 4, "epochs": 2, "warmup_epochs": 1, "batch": 10, "neighbours": 5}"#;
    for method in [&["--method", "kmeans"][..], &["--settings", settings]] {
        // One row sixty times: one cluster, whatever C is.
        let constant = Tensor::ones([60, 4], (Kind::Float, Device::Cpu));
        assert_eq!(cluster(constant, method)["used"], 1, "{method:?}");
        // Three rows twenty times each: no more clusters than different rows.
        let three = Tensor::eye(3, (Kind::Float, Device::Cpu)).repeat([20, 1]);
        let used = cluster(three, method)["used"].as_u64().unwrap();
        assert!((1..=3).contains(&used), "{method:?}: {used}");
    }
}

//! The commands for plain files, as processes.

use serde_json::Value;
use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
};
use tch::{Device, Kind, Tensor};

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
    Tensor::write_safetensors(
        &[("features", features)],
        folder.join("features.safetensors"),
    )
    .unwrap();
    Tensor::write_safetensors(&[("labels", labels)], folder.join("labels.safetensors")).unwrap();
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
fn what_cannot_work_is_said_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), Kind::Float);
    let features = folder.path().join("features.safetensors");
    let out = folder.path().join("out");
    let check = |features: &Path, more: &[&str], expect: &str| {
        let args = [
            &["run", "--features", text(features), "--out", text(&out)],
            more,
        ]
        .concat();
        let error = cedm_clusterer(&args).unwrap_err();
        assert!(error.contains(expect), "{error}");
        assert!(!out.join("assignments.safetensors").exists(), "{error}");
    };
    let kmeans = ["--method", "kmeans", "--clusters"];
    check(
        &features,
        &[&kmeans[..], &["1"]].concat(),
        "clusters is 1, expected at least 2",
    );
    check(
        &features,
        &[&kmeans[..], &["121"]].concat(),
        "clusters is 121, expected at most the number of images, 120",
    );
    check(
        &features,
        &[
            "--clusters",
            "4",
            "--settings",
            r#"{"neighbours": 120, "epochs": 30, "batch": 10}"#,
        ],
        "neighbours is 120, expected from 1 to 119",
    );
    check(
        &features,
        &["--clusters", "4", "--settings", r#"{"headz": 3}"#],
        "unknown field `headz`",
    );
    let labels = folder.path().join("few.safetensors");
    Tensor::write_safetensors(
        &[("labels", Tensor::zeros([7], (Kind::Int64, Device::Cpu)))],
        &labels,
    )
    .unwrap();
    check(
        &features,
        &[&kmeans[..], &["4", "--labels", text(&labels)]].concat(),
        "number of labels is 7, expected one for each of the 120",
    );
    let others = folder.path().join("others.safetensors");
    let foreign = |rows: i64, value: i64| {
        let indices = Tensor::full([rows, 3], value, (Kind::Int64, Device::Cpu));
        Tensor::write_safetensors(&[("indices", indices)], &others).unwrap();
    };
    let with_neighbours = [&kmeans[..], &["4", "--neighbours", text(&others)]].concat();
    foreign(60, 0);
    check(
        &features,
        &with_neighbours,
        "neighbours is Int64 [60, 3], expected integers [120, at least 1] from 0 to 119",
    );
    foreign(120, 500);
    check(
        &features,
        &with_neighbours,
        "neighbours is from 500 to 500, expected integers [120, at least 1] from 0 to 119",
    );

    let broken = folder.path().join("broken.safetensors");
    let tensor = Tensor::read_safetensors(&features).unwrap().remove(0).1;
    let write =
        |tensor: &Tensor| Tensor::write_safetensors(&[("features", tensor)], &broken).unwrap();
    let mut with_nan = tensor.copy();
    let _ = with_nan.narrow(0, 5, 1).fill_(f64::NAN);
    write(&with_nan);
    check(
        &broken,
        &[&kmeans[..], &["4"]].concat(),
        "1 rows with NaN or infinite values, the first is row 5",
    );
    with_nan = tensor.copy();
    let _ = with_nan.narrow(0, 9, 2).zero_();
    write(&with_nan);
    let settings = r#"{"epochs": 30, "batch": 10, "neighbours": 5}"#;
    check(
        &broken,
        &["--clusters", "4", "--settings", settings],
        "2 feature rows are all zero, the first is row 9",
    );
    let whole = std::fs::read(&features).unwrap();
    std::fs::write(&broken, &whole[..whole.len() - 100]).unwrap();
    check(
        &broken,
        &[&kmeans[..], &["4"]].concat(),
        "broken.safetensors",
    );

    // Where rows stay on disk they are found out as they are read.
    let mini = r#"{"mini_batch": 40}"#;
    let on_disk = [&kmeans[..], &["4", "--settings", mini]].concat();
    check(&broken, &on_disk, "truncated?");
    write(&with_nan.fill_(f64::INFINITY));
    check(&broken, &on_disk, "rows with NaN or infinite values");
    check(
        &features,
        &[&on_disk[..], &["--array", "embeddings"]].concat(),
        "no array `embeddings`, only [\"features\"]",
    );
    let too_small = [&kmeans[..], &["5", "--settings", r#"{"mini_batch": 4}"#]].concat();
    check(
        &features,
        &too_small,
        "mini_batch is 4, expected 0, or at least the 5 clusters",
    );

    let ids = folder.path().join("ids.pt");
    cedm_clusterer::write_pt(&ids, &[0; 120]).unwrap();
    let whole = std::fs::read(&ids).unwrap();
    std::fs::write(&ids, &whole[..whole.len() / 2]).unwrap();
    let imported = [
        "--method",
        "imported",
        "--clusters",
        "4",
        "--ids",
        text(&ids),
    ];
    check(&features, &imported, "ids.pt");
    let halves = folder.path().join("halves.safetensors");
    Tensor::write_safetensors(
        &[(
            "labels",
            Tensor::full([120], 0.5, (Kind::Float, Device::Cpu)),
        )],
        &halves,
    )
    .unwrap();
    check(
        &features,
        &[&kmeans[..], &["4", "--labels", text(&halves)]].concat(),
        "Float [120], expected one whole number per image",
    );
}

#[test]
fn one_file_may_hold_features_of_any_type_and_labels() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), Kind::Float);
    let read = |name: &str| {
        Tensor::read_safetensors(folder.path().join(name))
            .unwrap()
            .remove(0)
            .1
    };
    let (features, labels) = (read("features.safetensors"), read("labels.safetensors"));
    let both = folder.path().join("both.safetensors");
    let arrays = [
        ("features", features.to_kind(Kind::Half)),
        ("double", features.to_kind(Kind::Double)),
        ("labels", labels),
    ];
    Tensor::write_safetensors(&arrays, &both).unwrap();
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
fn an_interrupted_training_goes_on_for_the_same_data_only() {
    let folder = tempfile::tempdir().unwrap();
    write_data(folder.path(), Kind::Float);
    let features = folder.path().join("features.safetensors");
    let settings = TEMI.replace("\"epochs\": 15", "\"epochs\": 800");
    let args = |out: &str| {
        let out = folder.path().join(out);
        [
            "run",
            "--clusters",
            "4",
            "--settings",
            &settings,
            "--features",
            text(&features),
            "--out",
            text(&out),
        ]
        .map(str::to_owned)
        .to_vec()
    };
    // What came of it, and whether it went on from a checkpoint.
    let finish = |out: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_cedm-clusterer"))
            .args(args(out))
            .env("CEDM_DEVICE", "cpu")
            .env("CEDM_THREADS", "1")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let went_on = said.contains("going on from the checkpoint at step");
        (
            (
                found["best_head"].clone(),
                found["first_and_last_losses"].clone(),
            ),
            went_on,
        )
    };
    let interrupt = |out: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cedm-clusterer"))
            .args(args(out))
            .env("CEDM_DEVICE", "cpu")
            .env("CEDM_THREADS", "1")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (mut heard, mut byte) = (String::new(), [0]);
        // At the second word of steps it listens for certain.
        while heard.matches(" steps,").count() < 2 {
            assert_eq!(
                child.stderr.as_mut().unwrap().read(&mut byte).unwrap(),
                1,
                "it ended too soon: {heard}"
            );
            heard.push(byte[0].into());
        }
        let told = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(
            told.success() && !child.wait().unwrap().success(),
            "an interrupted training has no result"
        );
        assert!(
            folder.path().join(out).join("checkpoints").exists(),
            "a checkpoint stays"
        );
    };
    let (whole, _) = finish("whole");
    interrupt("cut");
    assert_eq!(finish("cut"), (whole, true), "it goes on to the same end");

    interrupt("other");
    let tensor = Tensor::read_safetensors(&features).unwrap().remove(0).1;
    Tensor::write_safetensors(&[("features", tensor.flip([1i64].as_slice()))], &features).unwrap();
    assert_eq!(
        finish("other"),
        (finish("fresh").0, false),
        "other data begin anew"
    );
}

#[test]
fn rows_that_are_alike_give_fewer_clusters_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let features = folder.path().join("features.safetensors");
    let cluster = |rows: Tensor, method: &[&str]| -> serde_json::Value {
        Tensor::write_safetensors(&[("features", rows)], &features).unwrap();
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
        // One row sixty times: one cluster, whatever was asked for.
        let constant = Tensor::ones([60, 4], (Kind::Float, Device::Cpu));
        assert_eq!(cluster(constant, method)["used"], 1, "{method:?}");
        // Three rows twenty times each: no more clusters than rows that differ.
        let three = Tensor::eye(3, (Kind::Float, Device::Cpu)).repeat([20, 1]);
        let used = cluster(three, method)["used"].as_u64().unwrap();
        assert!((1..=3).contains(&used), "{method:?}: {used}");
    }
}

//! Errors of `run`, which name the setting or file and write no result.

use super::{cedm_clusterer, text, write_data};
use std::path::Path;
use tch::{Device, Kind, Tensor};

#[test]
fn errors_name_the_setting_or_file_and_write_no_result() {
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
    cedm_torch::tensor_files::write(
        &labels,
        &[("labels", Tensor::zeros([7], (Kind::Int64, Device::Cpu)))],
        &[],
    )
    .unwrap();
    check(
        &features,
        &[&kmeans[..], &["4", "--labels", text(&labels)]].concat(),
        "few.safetensors: number of labels is 7, expected one for each of the 120",
    );
    let others = folder.path().join("others.safetensors");
    let foreign = |rows: i64, value: i64| {
        let indices = Tensor::full([rows, 3], value, (Kind::Int64, Device::Cpu));
        cedm_torch::tensor_files::write(&others, &[("indices", indices)], &[]).unwrap();
    };
    let with_neighbours = [&kmeans[..], &["4", "--neighbours", text(&others)]].concat();
    foreign(60, 0);
    check(
        &features,
        &with_neighbours,
        "others.safetensors: neighbours is Int64 [60, 3], expected integers [120, at least 1] from 0 to 119",
    );
    foreign(120, 500);
    check(
        &features,
        &with_neighbours,
        "neighbours is from 500 to 500, expected integers [120, at least 1] from 0 to 119",
    );

    let broken = folder.path().join("broken.safetensors");
    let tensor = cedm_torch::tensor_files::read_one(&features, "features").unwrap();
    let write = |tensor: &Tensor| {
        cedm_torch::tensor_files::write(&broken, &[("features", tensor)], &[]).unwrap()
    };
    let mut with_nan = tensor.copy();
    let _ = with_nan.narrow(0, 5, 1).fill_(f64::NAN);
    write(&with_nan);
    check(
        &broken,
        &[&kmeans[..], &["4"]].concat(),
        "broken.safetensors: features holds 8 values that are NaN or infinite, the first in row 5",
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

    // Rows that stay on disk are checked as they are read.
    let mini = r#"{"mini_batch": 40}"#;
    let on_disk = [&kmeans[..], &["4", "--settings", mini]].concat();
    check(&broken, &on_disk, "truncated");
    write(&with_nan.fill_(f64::INFINITY));
    check(&broken, &on_disk, "values that are NaN or infinite");
    check(
        &features,
        &[&on_disk[..], &["--array", "embeddings"]].concat(),
        "tensor `embeddings` is missing, found [\"features\"]",
    );
    let too_small = [&kmeans[..], &["5", "--settings", r#"{"mini_batch": 4}"#]].concat();
    check(
        &features,
        &too_small,
        "mini_batch is 4, expected 0, or at least the 5 clusters",
    );

    let out_of_range = folder.path().join("out-of-range.npy");
    for (id, says) in [
        (-1, "cluster id of image 0 is -1, expected 0 or more"),
        (
            i64::MAX,
            "cluster id 9223372036854775807, expected 0 to 4294967294",
        ),
        (1 << 32, "cluster id 4294967296, expected 0 to 4294967294"),
    ] {
        cedm_tensor_files::write_npy(&out_of_range, &[2], &[id, 0]).unwrap();
        let export = ["export", "--ids", text(&out_of_range), "--out", text(&out)];
        let error = cedm_clusterer(&export).unwrap_err();
        assert!(
            error.contains("out-of-range.npy") && error.contains(says),
            "{error}"
        );
    }

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
    cedm_torch::tensor_files::write(
        &halves,
        &[(
            "labels",
            Tensor::full([120], 0.5, (Kind::Float, Device::Cpu)),
        )],
        &[],
    )
    .unwrap();
    check(
        &features,
        &[&kmeans[..], &["4", "--labels", text(&halves)]].concat(),
        "Float [120], expected one integer per image",
    );
}

//! `cedm-evaluator run` as a user calls it: files in, JSON out, and one clear sentence where that
//! cannot be.

use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tch::{Device, Kind, Tensor};

struct JobContext {
    folder: tempfile::TempDir,
}

impl JobContext {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A sample set of `count` grey images whose pixels are waves of the given phase.
    fn images(&self, name: &str, count: i64, side: i64, phase: f64) -> PathBuf {
        let pixels = (Tensor::arange(count * side * side, (Kind::Double, Device::Cpu)) * 0.7391
            + phase)
            .sin()
            * 100.0
            + 128.0;
        let images = pixels.to_kind(Kind::Uint8).view([count, 1, side, side]);
        let path = self.path(name);
        Tensor::write_safetensors(&[("images", images)], &path).unwrap();
        path
    }

    fn features(&self, name: &str, rows: &Tensor) -> PathBuf {
        let path = self.path(name);
        Tensor::write_safetensors(&[("features", rows)], &path).unwrap();
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

fn refusal(arguments: &[&str]) -> String {
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

#[test]
fn images_features_moments_and_statistics_give_one_distance() {
    let context = JobContext::new();
    let (a, b) = (
        context.images("a.safetensors", 60, 4, 0.0),
        context.images("b.safetensors", 50, 4, 0.3),
    );
    let stats = context.path("b.npz");
    let features = context.path("features.safetensors");
    let plain = report(&[
        "--generated",
        text(&a),
        "--reference",
        text(&b),
        "--extractor",
        "pixels",
        "--save-features",
        text(&features),
    ]);
    report(&[
        "--generated",
        text(&b),
        "--metrics",
        "none",
        "--extractor",
        "pixels",
        "--save-stats",
        text(&stats),
    ]);
    let from_stats = report(&[
        "--generated",
        text(&a),
        "--reference",
        text(&stats),
        "--extractor",
        "pixels",
    ]);
    let from_features = report(&["--generated", text(&features), "--reference", text(&stats)]);
    let expected = value(&plain, "fd");
    assert!(expected > 0.0);
    assert!((value(&from_stats, "fd") / expected - 1.0).abs() < 1e-9);
    assert!((value(&from_features, "fd") / expected - 1.0).abs() < 1e-9);
    assert_eq!(from_stats["sets"]["reference"]["images"], 50);
    assert_eq!(plain["scores"]["fd"]["direction"], "lower is better");
}

#[test]
fn every_metric_has_a_number_or_a_reason() {
    let context = JobContext::new();
    let set = |name: &str, phase| context.images(name, 80, 4, phase);
    let (a, b, c, d) = (
        set("a.safetensors", 0.0),
        set("b.safetensors", 0.3),
        set("c.safetensors", 0.5),
        set("d.safetensors", 0.9),
    );
    let sets = [
        "--generated",
        text(&a),
        "--reference",
        text(&b),
        "--unconditional",
        text(&c),
        "--test",
        text(&d),
    ];
    let report = report(
        &[
            &sets[..],
            &["--extractor", "pca", "--dim", "6", "--metrics", "all"],
        ]
        .concat(),
    );
    let scores = report["scores"].as_object().unwrap();
    // All but the confidence, which needs the head of a clustering and has a test of its own.
    let mut known = cedm_catalogue::metrics::score_metric_names();
    known.retain(|name| *name != "confidence");
    assert_eq!(scores.len(), known.len());
    for (name, score) in scores {
        let logits = matches!(name.as_str(), "inception_score" | "mean_softmax_score");
        assert_eq!(score["value"].is_null(), logits, "{name}: {score}");
        assert_eq!(score["missing"].is_null(), !logits, "{name}: {score}");
    }
    assert!(
        scores["inception_score"]["missing"]
            .as_str()
            .unwrap()
            .contains("no logits")
    );
}

#[test]
fn too_few_images_make_single_scores_missing() {
    let context = JobContext::new();
    let (a, b) = (
        context.images("a.safetensors", 4, 4, 0.0),
        context.images("b.safetensors", 50, 4, 0.3),
    );
    let report = report(&[
        "--generated",
        text(&a),
        "--reference",
        text(&b),
        "--extractor",
        "pixels",
        "--metrics",
        "fd,precision,fd_infinity",
    ]);
    assert!(value(&report, "fd").is_finite());
    assert!(report["scores"]["precision"]["value"].is_null());
    assert_eq!(
        report["scores"]["precision"]["missing"],
        "generated has 4 rows, Precision needs at least 6"
    );
    assert!(
        report["scores"]["fd_infinity"]["missing"]
            .as_str()
            .unwrap()
            .contains("needs at least 30")
    );
}

#[test]
fn moments_alone_say_what_they_cannot_do() {
    let context = JobContext::new();
    let (a, stats) = (
        context.images("a.safetensors", 40, 4, 0.0),
        context.path("stats.npz"),
    );
    report(&[
        "--generated",
        text(&a),
        "--metrics",
        "none",
        "--extractor",
        "pixels",
        "--save-stats",
        text(&stats),
    ]);
    let report = report(&[
        "--generated",
        text(&a),
        "--reference",
        text(&stats),
        "--extractor",
        "pixels",
        "--metrics",
        "fd,sw,kid",
    ]);
    assert!(value(&report, "fd").abs() < 1e-6 && value(&report, "sw").abs() < 1e-6);
    assert!(
        report["scores"]["kid"]["missing"]
            .as_str()
            .unwrap()
            .contains("mean and covariance only")
    );
}

#[test]
fn sets_of_different_resolution_are_refused() {
    let context = JobContext::new();
    let (a, b) = (
        context.images("a.safetensors", 10, 4, 0.0),
        context.images("b.safetensors", 10, 8, 0.3),
    );
    let message = refusal(&[
        "--generated",
        text(&a),
        "--reference",
        text(&b),
        "--extractor",
        "pixels",
    ]);
    assert!(
        message.contains("4x4 pixels")
            && message.contains("8x8 pixels")
            && message.contains("--mixed-resolution"),
        "{message}"
    );
}

#[test]
fn statistics_of_another_extractor_are_refused_by_name_and_by_digest() {
    let context = JobContext::new();
    let (a, b) = (
        context.images("a.safetensors", 40, 4, 0.0),
        context.images("b.safetensors", 40, 4, 0.3),
    );
    let (pixels, pca) = (context.path("pixels.npz"), context.path("pca.npz"));
    report(&[
        "--generated",
        text(&a),
        "--metrics",
        "none",
        "--extractor",
        "pixels",
        "--save-stats",
        text(&pixels),
    ]);
    report(&[
        "--generated",
        text(&a),
        "--metrics",
        "none",
        "--extractor",
        "pca",
        "--save-stats",
        text(&pca),
    ]);
    let message = refusal(&[
        "--generated",
        text(&b),
        "--reference",
        text(&pixels),
        "--extractor",
        "pca",
    ]);
    assert!(
        message.contains("measured by pixels") && message.contains("by pca with weights"),
        "{message}"
    );
    let message = refusal(&[
        "--generated",
        text(&b),
        "--reference",
        text(&pca),
        "--extractor",
        "pca",
    ]);
    assert_eq!(message.matches("pca with weights").count(), 2, "{message}");
}

#[test]
fn corrupt_files_and_nan_features_are_refused() {
    let context = JobContext::new();
    let a = context.images("a.safetensors", 10, 4, 0.0);
    let corrupt = context.path("corrupt.npz");
    std::fs::write(&corrupt, "PK\x03\x04 and then nothing").unwrap();
    let message = refusal(&[
        "--generated",
        text(&a),
        "--reference",
        text(&corrupt),
        "--extractor",
        "pixels",
    ]);
    assert!(
        message.contains("corrupt.npz: is no npz archive"),
        "{message}"
    );
    let rows = Tensor::arange(20, (Kind::Float, Device::Cpu)).view([10, 2]);
    let _ = rows.get(7).fill_(f64::NAN);
    let broken = context.features("nan.safetensors", &rows);
    let message = refusal(&[
        "--generated",
        text(&broken),
        "--reference",
        text(&a),
        "--extractor",
        "pixels",
    ]);
    assert!(
        message.contains("generated holds 2 values that are NaN or infinite, the first in row 7"),
        "{message}"
    );
    let message = refusal(&[
        "--generated",
        text(&context.path("absent")),
        "--reference",
        text(&a),
    ]);
    assert!(message.contains("absent: does not exist"), "{message}");
    let message = refusal(&["--generated", text(&a), "--metrics", "fid"]);
    assert!(
        message.contains("there is no metric `fid`; known are fd, ufd"),
        "{message}"
    );
}

/// A folder of image shards with these numbers of images, together always the same images.
fn cut(context: &JobContext, name: &str, counts: &[i64]) -> PathBuf {
    let folder = context.path(name);
    std::fs::create_dir(&folder).unwrap();
    let whole = context.images("whole.safetensors", counts.iter().sum(), 4, 0.0);
    let images = Tensor::read_safetensors(&whole).unwrap().remove(0).1;
    let mut first = 0;
    for (index, count) in counts.iter().enumerate() {
        let shard = images.narrow(0, first, *count).contiguous();
        Tensor::write_safetensors(
            &[("images", shard)],
            folder.join(format!("{index:05}.safetensors")),
        )
        .unwrap();
        first += count;
    }
    folder
}

#[test]
fn the_cut_into_shards_does_not_change_any_score() {
    let context = JobContext::new();
    let reference = context.images("reference.safetensors", 70, 4, 0.4);
    let of = |counts: &[i64]| {
        let name = format!("{counts:?}");
        let folder = cut(&context, &name, counts);
        report(&[
            "--generated",
            text(&folder),
            "--reference",
            text(&reference),
            "--extractor",
            "pixels",
            "--metrics",
            "fd,kid,precision,recall,density,coverage,sw,vendi,authenticity,fd_infinity",
        ])
    };
    let whole = of(&[90]);
    for counts in [&[45, 45][..], &[1, 88, 1], &[13, 27, 50]] {
        let found = of(counts);
        for name in whole["scores"].as_object().unwrap().keys() {
            let (a, b) = (value(&whole, name), value(&found, name));
            assert!(
                (a - b).abs() <= 1e-9 * a.abs(),
                "{name} of {counts:?}: {b}, whole: {a}"
            );
        }
    }
}

#[test]
fn the_head_of_a_clustering_judges_generated_features() {
    use cedm_clustering::temi::{HeadShape, Heads, Model, Standardisation, to_upstream};
    let context = JobContext::new();
    let temi = cedm_contract::kinds::cluster::TemiParams {
        heads: 1,
        hidden: 8,
        bottleneck: 4,
        ..Default::default()
    };
    let model = |width: i64| Model {
        standardisation: Standardisation::identity(width, Kind::Float, Device::Cpu),
        heads: Heads::initialise(
            HeadShape::new(&temi, width, 5).unwrap(),
            3,
            Kind::Float,
            Device::Cpu,
        ),
        best_head: 0,
    };
    let rows = (Tensor::arange(60, (Kind::Float, Device::Cpu)) * 0.37)
        .sin()
        .view([20, 3]);
    let features = context.features("features.safetensors", &rows);
    let heads = context.path("heads.safetensors");
    Tensor::write_safetensors(&to_upstream(&model(3)), &heads).unwrap();
    let found = report(&[
        "--generated",
        text(&features),
        "--heads",
        text(&heads),
        "--metrics",
        "confidence",
    ]);
    let expected =
        (model(3).best_logits(&rows).to_kind(Kind::Double) / 0.1).softmax(1, Kind::Double);
    let expected = expected
        .amax([1i64].as_slice(), false)
        .mean(Kind::Double)
        .double_value(&[]);
    assert!(
        (value(&found, "confidence") - expected).abs() < 1e-6,
        "{found}"
    );
    assert!(found["scores"]["confidence"]["std"].as_f64().unwrap() > 0.0);
    Tensor::write_safetensors(&to_upstream(&model(4)), &heads).unwrap();
    let found = report(&[
        "--generated",
        text(&features),
        "--heads",
        text(&heads),
        "--metrics",
        "confidence",
    ]);
    let reason = found["scores"]["confidence"]["missing"].as_str().unwrap();
    assert!(
        reason.contains("3 features per row, the TEMI head has 4"),
        "{reason}"
    );
    let found = report(&["--generated", text(&features), "--metrics", "confidence"]);
    let reason = found["scores"]["confidence"]["missing"].as_str().unwrap();
    assert!(reason.contains("no TEMI head"), "{reason}");
    let message = refusal(&[
        "--generated",
        text(&features),
        "--heads",
        text(&features),
        "--metrics",
        "confidence",
    ]);
    assert!(message.contains("is it a TEMI state dict?"), "{message}");
}

#[test]
fn a_large_reference_is_cut_to_the_subset_that_dgm_eval_draws() {
    let context = JobContext::new();
    let rows = |count: i64, phase: f64| {
        (Tensor::arange(count * 3, (Kind::Double, Device::Cpu)) * 1.7 + phase)
            .sin()
            .view([count, 3])
    };
    let generated = context.features("generated.safetensors", &rows(40, 0.5));
    let all = rows(100, 0.0);
    let whole = context.features("whole.safetensors", &all);
    let mut kept = cedm_maths::numpy_permutation(13579, 100);
    kept.truncate(30);
    kept.sort_unstable();
    let subset = context.features(
        "subset.safetensors",
        &all.index_select(0, &Tensor::from_slice(&kept)),
    );
    let sets = [
        "--generated",
        text(&generated),
        "--metrics",
        "fd,kid,precision",
    ];
    let expected = report(&[&sets[..], &["--reference", text(&subset)]].concat());
    let found = report(
        &[
            &sets[..],
            &["--reference", text(&whole), "--reference-at-most", "30"],
        ]
        .concat(),
    );
    assert_eq!(found["sets"]["reference"]["images"], 30);
    for name in ["fd", "kid", "precision"] {
        assert_eq!(
            found["scores"][name]["value"], expected["scores"][name]["value"],
            "{name}"
        );
    }
    let uncut = report(
        &[
            &sets[..],
            &["--reference", text(&whole), "--reference-at-most", "100"],
        ]
        .concat(),
    );
    assert_eq!(uncut["sets"]["reference"]["images"], 100);
}

#[test]
fn settings_of_other_tools_can_be_had_and_are_written_down() {
    let context = JobContext::new();
    let (a, b) = (
        context.images("a.safetensors", 60, 4, 0.0),
        context.images("b.safetensors", 50, 4, 0.3),
    );
    let sets = [
        "--generated",
        text(&a),
        "--reference",
        text(&b),
        "--extractor",
        "pca",
        "--dim",
        "4",
        "--metrics",
        "density,kid",
    ];
    let (plain, other) = (
        report(&sets),
        report(
            &[
                &sets[..],
                &[
                    "--neighbours",
                    "3",
                    "--kid-subsets",
                    "7",
                    "--kid-subset-size",
                    "20",
                ],
            ]
            .concat(),
        ),
    );
    assert_ne!(
        plain["scores"]["density"]["value"],
        other["scores"]["density"]["value"]
    );
    assert_eq!(
        (
            &plain["settings"]["neighbours"],
            &other["settings"]["neighbours"]
        ),
        (&5.into(), &3.into())
    );
    assert_eq!(other["settings"]["kid_subsets"], 7);
    assert!(
        plain["scores"]["density"]["definition"]
            .as_str()
            .unwrap()
            .contains("divided by 5")
    );
    let message = refusal(&[&sets[..], &["--neighbours", "0"]].concat());
    assert!(
        message.contains("--neighbours") && message.contains("0 is not in"),
        "{message}"
    );
}

//! Scores, their reasons where they are missing, and their settings.

use super::{TestFolder, error_of, report, text, value};
use tch::{Device, Kind, Tensor};

#[test]
fn every_metric_has_a_number_or_a_reason() {
    let folder = TestFolder::new();
    let set = |name: &str, phase| folder.images(name, 80, 4, phase);
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
    let folder = TestFolder::new();
    let (a, b) = (
        folder.images("a.safetensors", 4, 4, 0.0),
        folder.images("b.safetensors", 50, 4, 0.3),
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
fn metrics_that_need_single_features_are_missing_for_statistics() {
    let folder = TestFolder::new();
    let (a, stats) = (
        folder.images("a.safetensors", 40, 4, 0.0),
        folder.path("stats.npz"),
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
fn confidence_is_that_of_the_head_of_a_clustering() {
    use cedm_clustering::temi::{HeadShape, Heads, Model, Standardisation, to_upstream};
    let folder = TestFolder::new();
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
    let features = folder.features("features.safetensors", &rows);
    let heads = folder.path("heads.safetensors");
    cedm_torch::tensor_files::write(&heads, &to_upstream(&model(3)), &[]).unwrap();
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
    cedm_torch::tensor_files::write(&heads, &to_upstream(&model(4)), &[]).unwrap();
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
    let message = error_of(&[
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
fn constants_of_metrics_can_be_changed_and_are_reported() {
    let folder = TestFolder::new();
    let (a, b) = (
        folder.images("a.safetensors", 60, 4, 0.0),
        folder.images("b.safetensors", 50, 4, 0.3),
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
    let message = error_of(&[&sets[..], &["--neighbours", "0"]].concat());
    assert!(
        message.contains("--neighbours") && message.contains("0 is not in"),
        "{message}"
    );
}

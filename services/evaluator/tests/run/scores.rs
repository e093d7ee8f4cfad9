//! Scores, their reasons where they are missing, and their settings.

use super::{Run, TestFolder, missing, save_statistics, value};
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
    let run = Run::of(&a).against(&b).by("pca").with("--dim", "6");
    let run = run.with("--unconditional", &c).with("--test", &d);
    let report = run.metrics("all").report();
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
    assert!(missing(&report, "inception_score").contains("no logits"));
}

#[test]
fn too_few_images_make_single_scores_missing() {
    let folder = TestFolder::new();
    let (a, b) = folder.pair(4, 50);
    let run = Run::of(&a).against(&b).by("pixels");
    let report = run.metrics("fd,precision,fd_infinity").report();
    assert!(value(&report, "fd").is_finite());
    assert_eq!(
        missing(&report, "precision"),
        "generated has 4 rows, Precision needs at least 6"
    );
    assert!(missing(&report, "fd_infinity").contains("needs at least 30"));
}

#[test]
fn metrics_that_need_single_features_are_missing_for_statistics() {
    let folder = TestFolder::new();
    let (a, stats) = (
        folder.images("a.safetensors", 40, 4, 0.0),
        folder.path("stats.npz"),
    );
    save_statistics(&a, "pixels", &stats);
    let run = Run::of(&a).against(&stats).by("pixels");
    let report = run.metrics("fd,sw,kid").report();
    assert!(value(&report, "fd").abs() < 1e-6 && value(&report, "sw").abs() < 1e-6);
    assert!(missing(&report, "kid").contains("mean and covariance only"));
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
    let run = Run::of(&features).metrics("confidence");
    let with_heads = run.clone().with("--heads", &heads);
    let found = with_heads.report();
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
    let found = with_heads.report();
    let reason = missing(&found, "confidence");
    assert!(
        reason.contains("3 features per row, the TEMI head has 4"),
        "{reason}"
    );
    let found = run.report();
    let reason = missing(&found, "confidence");
    assert!(reason.contains("no TEMI head"), "{reason}");
    let message = run.with("--heads", &features).error();
    assert!(message.contains("is it a TEMI state dict?"), "{message}");
}

#[test]
fn constants_of_metrics_can_be_changed_and_are_reported() {
    let folder = TestFolder::new();
    let (a, b) = folder.pair(60, 50);
    let run = Run::of(&a).against(&b).by("pca").with("--dim", "4");
    let run = run.metrics("density,kid");
    let other = run.clone().with("--neighbours", "3");
    let other = other
        .with("--kid-subsets", "7")
        .with("--kid-subset-size", "20");
    let (plain, other) = (run.report(), other.report());
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
    let message = run.with("--neighbours", "0").error();
    assert!(
        message.contains("--neighbours") && message.contains("0 is not in"),
        "{message}"
    );
}

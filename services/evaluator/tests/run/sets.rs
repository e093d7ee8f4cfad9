//! The forms in which a set may be given, and the subsets that are drawn of it.

use super::{Run, TestFolder, save_statistics, value};
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

#[test]
fn images_features_moments_and_statistics_give_one_distance() {
    let folder = TestFolder::new();
    let (a, b) = folder.pair(60, 50);
    let stats = folder.path("b.npz");
    let features = folder.path("features.safetensors");
    let plain = Run::of(&a).against(&b).by("pixels");
    let plain = plain.with("--save-features", &features).report();
    save_statistics(&b, "pixels", &stats);
    let from_stats = Run::of(&a).against(&stats).by("pixels").report();
    let from_features = Run::of(&features).against(&stats).report();
    let expected = value(&plain, "fd");
    assert!(expected > 0.0);
    assert!((value(&from_stats, "fd") / expected - 1.0).abs() < 1e-9);
    assert!((value(&from_features, "fd") / expected - 1.0).abs() < 1e-9);
    assert_eq!(from_stats["sets"]["reference"]["images"], 50);
    assert_eq!(plain["scores"]["fd"]["direction"], "lower is better");
}

/// Writes a folder of image shards with these numbers of images; all shards together always hold
/// the same images.
fn write_in_shards(folder: &TestFolder, name: &str, counts: &[i64]) -> PathBuf {
    let out = folder.path(name);
    std::fs::create_dir(&out).unwrap();
    let whole = folder.images("whole.safetensors", counts.iter().sum(), 4, 0.0);
    let images = cedm_torch::tensor_files::read_one(&whole, "images").unwrap();
    let mut first = 0;
    for (index, count) in counts.iter().enumerate() {
        let shard = images.narrow(0, first, *count).contiguous();
        cedm_torch::tensor_files::write(
            &out.join(format!("{index:05}.safetensors")),
            &[("images", shard)],
            &[],
        )
        .unwrap();
        first += count;
    }
    out
}

#[test]
fn the_division_into_shards_changes_no_score() {
    let folder = TestFolder::new();
    let reference = folder.images("reference.safetensors", 70, 4, 0.4);
    let of = |counts: &[i64]| {
        let name = format!("{counts:?}");
        let shards = write_in_shards(&folder, &name, counts);
        Run::of(&shards)
            .against(&reference)
            .by("pixels")
            .metrics("fd,kid,precision,recall,density,coverage,sw,vendi,authenticity,fd_infinity")
            .report()
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
fn a_large_reference_is_reduced_to_the_subset_that_dgm_eval_draws() {
    let folder = TestFolder::new();
    let rows = |count: i64, phase: f64| {
        (Tensor::arange(count * 3, (Kind::Double, Device::Cpu)) * 1.7 + phase)
            .sin()
            .view([count, 3])
    };
    let generated = folder.features("generated.safetensors", &rows(40, 0.5));
    let all = rows(100, 0.0);
    let whole = folder.features("whole.safetensors", &all);
    let mut kept = cedm_maths::numpy_permutation(13579, 100);
    kept.truncate(30);
    kept.sort_unstable();
    let subset = folder.features(
        "subset.safetensors",
        &all.index_select(0, &Tensor::from_slice(&kept)),
    );
    let run = Run::of(&generated).metrics("fd,kid,precision");
    let expected = run.clone().against(&subset).report();
    let at_most = |count| {
        let run = run.clone().against(&whole);
        run.with("--reference-at-most", count).report()
    };
    let found = at_most("30");
    assert_eq!(found["sets"]["reference"]["images"], 30);
    for name in ["fd", "kid", "precision"] {
        assert_eq!(
            found["scores"][name]["value"], expected["scores"][name]["value"],
            "{name}"
        );
    }
    let uncut = at_most("100");
    assert_eq!(uncut["sets"]["reference"]["images"], 100);
}

//! The bound search, the lower bound, and clusterings that follow from them.

use super::finished;
use crate::{
    fixtures::{FILLED, TOML, sweep},
    plan,
};

#[test]
fn networks_that_need_no_bound_are_trained_when_no_c_passes() {
    let (_, _, outcome) = finished(&TOML.replace("start = 5", "start = 64"));
    assert_eq!(outcome.bounds[0].c_max, None);
    assert_eq!(
        outcome
            .cells
            .iter()
            .map(|c| c.label.as_str())
            .collect::<Vec<_>>(),
        [
            "kmeans C=10",
            "kmeans C=20",
            "ground-truth C=10",
            "unconditional"
        ]
    );
    assert!(
        outcome
            .missing
            .iter()
            .any(|m| m.what == "networks of temi" && m.reason.contains("no C passes")),
        "{:?}",
        outcome.missing
    );
}

#[test]
fn candidates_that_the_search_did_not_try_are_clustered_for_the_purpose() {
    let toml = TOML.replace("candidate_rule = \"probes\"\n", "");
    let (sweep, observed, outcome) = finished(&toml);
    assert_eq!(outcome.bounds[0].candidates, [5, 14, 40]);
    let trained: Vec<Option<u32>> = outcome
        .cells
        .iter()
        .filter(|cell| cell.method == "temi")
        .map(|cell| cell.clusters)
        .collect();
    assert_eq!(trained, [Some(5), Some(14), Some(40)]);
    let plan = plan(&sweep, &observed);
    assert!(plan.node("cluster temi C=14").is_some() && plan.complete());
    let listed = TOML.replace(
        "candidates = 3\ncandidate_rule = \"probes\"",
        "candidates = [7, 20, 80]",
    );
    let (_, _, outcome) = finished(&listed);
    assert_eq!(outcome.bounds[0].candidates, [7, 20], "C_max is 40");
}

#[test]
fn clusterings_without_a_search_follow_the_first_that_has_one() {
    let (_, _, outcome) = finished(&TOML.replace("clusters = [10, 20]", "clusters = \"c_max\""));
    let kmeans: Vec<Option<u32>> = outcome
        .cells
        .iter()
        .filter(|c| c.method == "kmeans")
        .map(|c| c.clusters)
        .collect();
    assert_eq!(kmeans, [Some(40)]);
}

#[test]
fn a_lower_bound_asked_for_by_number_needs_no_c_max() {
    // nothing passes: the made-up images fill 43 clusters
    let toml = TOML.replace(
        "start = 5",
        "start = 100\nlower_bound = true\nlower_bound_clusters = [100, 400]",
    );
    let (start, observed) = sweep("digits", &toml);
    assert!(
        plan(&start, &observed)
            .node("cluster temi C=400 beta=1")
            .is_some(),
        "planned from the start"
    );
    let (_, _, outcome) = finished(&toml);
    let bound = &outcome.bounds[0];
    assert_eq!(bound.c_max, None);
    let lower = bound.lower.as_ref().unwrap();
    assert_eq!(
        (lower.probes.as_slice(), lower.mean),
        (&[(100, FILLED), (400, FILLED)][..], f64::from(FILLED))
    );
    assert_eq!(lower.std, Some(0.0));
}

#[test]
fn the_lower_bound_is_probed_above_c_max() {
    let (_, _, outcome) =
        finished(&TOML.replace("candidates = 3", "candidates = 1\nlower_bound = true"));
    let lower = outcome.bounds[0].lower.as_ref().unwrap();
    assert_eq!(lower.probes, [(40, 40), (80, FILLED), (160, FILLED)]);
    assert!((lower.mean - 42.0).abs() < 1e-12 && lower.std.is_some());
    assert_eq!(
        outcome.clusterings.iter().filter(|c| c.lower_bound).count(),
        3
    );
}

#[test]
fn several_seeds_probe_each_c_several_times() {
    let (_, _, outcome) = finished(&TOML.replace("start = 5", "start = 5\nseeds = 2"));
    let seeds: Vec<(u32, u64)> = outcome
        .clusterings
        .iter()
        .filter(|c| c.name == "temi")
        .map(|c| (c.clusters, c.seed))
        .collect();
    assert_eq!(seeds[..4], [(5, 0), (5, 1), (10, 0), (10, 1)]);
}

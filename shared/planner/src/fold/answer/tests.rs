//! What the answer claims, through its sentence: never more than was measured.

use crate::{fixtures::TOML, tests::finished};
use cedm_sweep::outcome::{Answer, CellOutcome, Edge};
use proptest::prelude::*;

/// The answer of the small sweep where networks score like this: `of(label, seed)` gives a value
/// for each sample set.
fn answered(toml: &str, of: impl Fn(&str, u64) -> Vec<f64>) -> Answer {
    let (sweep, _, outcome) = finished(toml);
    let mut cells = outcome.cells;
    for cell in &mut cells {
        let values = of(cell.granularity(), cell.seed.unwrap_or(0));
        score(cell, values);
    }
    super::answer(&sweep, &cells, &outcome.bounds).unwrap()
}

fn score(cell: &mut CellOutcome, values: Vec<f64>) {
    let last = cell.snapshots.last_mut().unwrap();
    let summary = last.summary.get_mut("pca/fd").unwrap();
    (summary.mean, summary.std) = crate::fold::summary::mean_and_std(&values);
    summary.values = (0..).zip(values).collect();
}

fn three_seeds() -> String {
    TOML.replace("budget_kimg = 2", "budget_kimg = 2\nseeds = [0, 1, 2]")
}

/// Around one mean per network, trainings and sets apart by so much.
fn around(means: &[(&str, f64)], trainings: f64, sets: f64) -> impl Fn(&str, u64) -> Vec<f64> {
    move |label, seed| {
        let mean = means.iter().find(|(name, _)| *name == label);
        let mean = mean.map_or(9.0, |(_, mean)| *mean);
        let training = trainings * (seed as f64 - 1.0);
        [-1.0, 1.0].map(|set| mean + training + sets * set).to_vec()
    }
}

#[test]
fn the_unconditional_network_is_named_where_it_wins() {
    let scores = around(&[("kmeans C=10", 4.04), ("unconditional", 4.0)], 0.0, 0.001);
    let answer = answered(TOML, &scores);
    assert_eq!(answer.best, "kmeans C=10");
    assert!(
        answer.headline.starts_with(
            "No clustering beats the unconditional network: FD (pca) 4.000 without a condition, \
             4.040 ± 0.001 over sample sets with kmeans C=10, the best of 5"
        ),
        "{}",
        answer.headline
    );
    // Whatever it is called.
    let renamed = TOML.replace("method = \"none\"", "method = \"none\"\nname = \"plain\"");
    let scores = around(&[("kmeans C=10", 4.04), ("plain", 4.0)], 0.0, 0.001);
    let headline = answered(&renamed, scores).headline;
    assert!(headline.starts_with("No clustering beats"), "{headline}");
}

#[test]
fn one_training_each_leaves_every_granularity_in_the_race() {
    // Two sets that differ by a thousandth: nine standard errors over sets would be nothing.
    let answer = answered(
        TOML,
        around(&[("temi C=20", 3.0), ("temi C=40", 3.1)], 0.0, 0.001),
    );
    assert_eq!(answer.best, "temi C=20");
    assert!(answer.uncertain && answer.ties.len() == 4);
    assert!(
        answer
            .granularities
            .iter()
            .all(|one| one.may_be_best && one.probability.is_none() && one.behind.is_none())
    );
    assert_eq!(answer.runner_up.unwrap().standard_error, None);
    assert!(answer.certainty.unknown[0].contains("trained once"));
    assert_eq!(
        (answer.certainty.degrees, answer.certainty.training_std),
        (0, None)
    );
    let said = "temi C=20 has the lowest FD (pca) of 5: 3.000 ± 0.001 over sample sets, 67 % below \
                unconditional; trained once each, so that any of the 5 may be the best; C_max = 40";
    assert_eq!(answer.headline, said);
}

#[test]
fn trainings_that_differ_more_than_networks_leave_several() {
    let means = [("temi C=5", 3.05), ("temi C=20", 3.0), ("temi C=40", 3.3)];
    let answer = answered(&three_seeds(), around(&means, 0.14, 0.01));
    assert_eq!((answer.best.as_str(), answer.clusters), ("temi C=20", 20));
    // 0.14 apart with three seeds is a standard deviation of 0.14; sampling takes a little of it.
    let certainty = &answer.certainty;
    assert_eq!((certainty.trainings, certainty.sets), (3, 2));
    assert_eq!(certainty.degrees, 14, "two for each of seven networks");
    assert!(
        (certainty.training_std.unwrap() - 0.14).abs() < 1e-3,
        "{certainty:?}"
    );
    assert!((certainty.sampling_std.unwrap() - 0.01 * 2f64.sqrt()).abs() < 1e-9);
    let left: Vec<&str> = (answer.granularities.iter())
        .filter(|one| one.may_be_best)
        .map(|one| one.label.as_str())
        .collect();
    assert_eq!(left, ["temi C=20", "temi C=5"]);
    assert_eq!(answer.ties, ["temi C=5"]);
    let sum: f64 = answer
        .granularities
        .iter()
        .filter_map(|one| one.probability)
        .sum();
    assert!((sum - 1.0).abs() < 1e-9);
    assert!(
        answer
            .headline
            .contains("has the lowest FD (pca) of 5: 3.000 ± 0.140 over trainings")
            && answer.headline.contains(
                "with 95 % confidence the best is among temi C=20 (66 %), temi C=5 (33 %)"
            ),
        "{}",
        answer.headline
    );
}

#[test]
fn a_difference_that_trainings_do_not_explain_is_an_answer() {
    let means = [("temi C=20", 3.0), ("unconditional", 5.0)];
    let answer = answered(&three_seeds(), around(&means, 0.05, 0.01));
    assert!(!answer.uncertain && answer.ties.is_empty());
    let said = "temi C=20 is best of 5: FD (pca) 3.000 ± 0.050 over trainings, 40 % below \
                unconditional; C_max = 40";
    assert_eq!(answer.headline, said);
    let (least, most) = answer.comparisons[1].ahead.unwrap();
    assert_eq!(answer.comparisons[1].with, "unconditional");
    assert!(0.0 < least && least < 2.0 && 2.0 < most);
    // A lead that may be chance is called so.
    let means = [("temi C=20", 3.0), ("unconditional", 3.05)];
    let headline = answered(&three_seeds(), around(&means, 0.14, 0.01)).headline;
    assert!(
        headline.contains("2 % below unconditional, which may be chance"),
        "{headline}"
    );
}

#[test]
fn a_best_c_at_the_edge_and_a_method_tried_once_are_said_at_once() {
    for (best, said) in [
        (
            "temi C=5",
            "C = 5 is the smallest trained, a smaller one may be better",
        ),
        (
            "temi C=40",
            "C = 40 is the largest trained, a larger one may be better",
        ),
    ] {
        let answer = answered(TOML, around(&[(best, 3.0)], 0.0, 0.1));
        assert!(answer.headline.contains(said), "{}", answer.headline);
        assert!(
            !answer.headline.contains(". "),
            "one sentence: {}",
            answer.headline
        );
    }
    let once = TOML.replace("clusters = [10, 20]", "clusters = [20]");
    let answer = answered(&once, around(&[("temi C=20", 3.0)], 0.0, 0.1));
    assert!(
        answer.headline.contains("kmeans was tried at C = 20 only"),
        "{}",
        answer.headline
    );
    let edges: Vec<Option<Edge>> = answer.granularities.iter().map(|one| one.edge).collect();
    assert!(edges.contains(&Some(Edge::Only)) && edges[0].is_none());
}

#[test]
fn imported_ids_do_not_compete_unless_told() {
    let with = |more: &str| {
        TOML.replace(
            "[bound]",
            &format!(
                "[[clustering]]\nmethod = \"imported\"\nfile = \"ids.npy\"\nclusters = 7\n{more}\
                 [bound]"
            ),
        )
    };
    // The file is not stored, so that the network is not trained: it is put in with its score.
    let answer_of = |toml: &str| {
        let (sweep, _, outcome) = finished(toml);
        let mut cells = outcome.cells;
        let mut imported = cells[0].clone();
        imported.label = "imported C=7".to_owned();
        imported.clustering = "imported".to_owned();
        imported.method = "imported".to_owned();
        imported.clusters = Some(7);
        score(&mut imported, vec![0.5, 0.6]);
        cells.push(imported);
        super::answer(&sweep, &cells, &outcome.bounds).unwrap()
    };
    let answer = answer_of(&with(""));
    assert_ne!(answer.clustering, "imported");
    assert!(
        answer
            .comparisons
            .iter()
            .any(|one| one.with == "imported C=7" && !one.better)
    );
    assert_eq!(answer_of(&with("competes = true\n")).clustering, "imported");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_sentence_claims_no_more_than_was_measured(
        scores in prop::collection::vec(1.0f64..2.0, 7 * 3 * 2),
        one_seed in any::<bool>(),
        one_set in any::<bool>(),
    ) {
        let labels = [
            "temi C=5", "temi C=20", "temi C=40", "kmeans C=10", "kmeans C=20",
            "ground-truth C=10", "unconditional",
        ];
        let toml = if one_seed { TOML.to_owned() } else { three_seeds() };
        let of = |label: &str, seed: u64| {
            let at = labels.iter().position(|one| *one == label).unwrap();
            let from = (at * 3 + seed as usize) * 2;
            scores[from..from + if one_set { 1 } else { 2 }].to_vec()
        };
        let answer = answered(&toml, of);
        let said = &answer.headline;
        let other = answer.comparisons.iter().find(|one| one.with == "unconditional").unwrap();
        let lost = other.other <= answer.score.mean;
        prop_assert_eq!(said.starts_with("No clustering beats"), lost, "{}", said);
        prop_assert!(!lost || !said.contains("is best"), "{}", said);
        prop_assert_eq!(said.contains("trained once each"), one_seed, "{}", said);
        prop_assert_eq!(said.contains("one sample set each"), one_set, "{}", said);
        prop_assert!(!one_seed || answer.ties.len() == 4, "{:?}", answer.ties);
        prop_assert!(!said.contains("is best of") || !answer.uncertain, "{}", said);
        prop_assert!(!said.contains("standard error"), "{}", said);
    }
}

//! Failed jobs, missing image sets, and any order of completion.

use super::{all, never, run};
use crate::{
    Observed, ObservedState, State,
    fixtures::{SUBMITTED_MS, TOML, sweep},
    fold, obstacles, plan,
};
use cedm_contract::Kind;
use cedm_sweep::{
    SweepSpec,
    outcome::{SweepOutcome, SweepState},
};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn a_dead_job_blocks_only_its_own_cell() {
    let (sweep, mut observed) = sweep("digits", TOML);
    run(&sweep, &mut observed, all, |label| {
        label == "train temi C=20 to 1.024 kimg"
    });
    let outcome = fold(&sweep, &observed);
    assert_eq!(outcome.state, SweepState::Incomplete);
    assert_eq!(
        plan(&sweep, &observed).report().unwrap().state,
        State::Ready,
        "the report says what is missing"
    );
    let scored: Vec<&str> = outcome
        .cells
        .iter()
        .filter(|c| !c.snapshots[1].summary.is_empty())
        .map(|c| c.label.as_str())
        .collect();
    assert_eq!(
        scored,
        [
            "temi C=5",
            "temi C=40",
            "kmeans C=10",
            "kmeans C=20",
            "ground-truth C=10",
            "unconditional"
        ]
    );
    let dead = outcome
        .missing
        .iter()
        .find(|m| m.what == "train temi C=20 to 1.024 kimg")
        .unwrap();
    assert_eq!(
        (dead.reason.as_str(), dead.pending),
        ("the disk is full", false)
    );
    assert!(
        outcome
            .missing
            .iter()
            .any(|m| m.what.starts_with("score pca temi C=20")
                && m.reason.contains("train temi C=20 to 1.024 kimg"))
    );
    assert!(
        outcome.missing.iter().all(|m| m.what.contains("temi C=20")),
        "{:?}",
        outcome.missing
    );
    let of_network = |missing: &&cedm_sweep::outcome::Missing| {
        let cell = missing.cell.as_ref().unwrap();
        (cell.clustering.as_str(), cell.clusters) == ("temi", Some(20))
    };
    assert_eq!(
        outcome.missing.iter().filter(of_network).count(),
        outcome.missing.len(),
        "everything missing names its network"
    );
    assert_eq!(dead.cell.as_ref().unwrap().nimg, Some(1_024));
    // Replayed and done, the sweep completes.
    let key = dead.key.clone().unwrap();
    observed.clear_dead(&key);
    run(&sweep, &mut observed, all, never);
    assert_eq!(fold(&sweep, &observed).state, SweepState::Complete);
}

#[test]
fn a_missing_image_set_blocks_the_sweep_with_its_reason() {
    let (sweep, _) = sweep("digits", TOML);
    let nothing = Observed::default();
    let plan = plan(&sweep, &nothing);
    assert!(plan.ready().is_empty() && plan.settled() && !plan.complete());
    assert!(
        fold(&sweep, &nothing).missing[0]
            .reason
            .contains("import it again")
    );
}

#[test]
fn obstacles_are_found_before_any_job_runs() {
    let (sweep, observed) = sweep("digits", TOML);
    let cedm_contract::JobResult::Import(images) =
        &observed.manifest(&sweep.images).unwrap().result
    else {
        panic!("import")
    };
    let of = |toml: &str| obstacles(&SweepSpec::parse(toml).unwrap(), images, None);
    assert_eq!(of(TOML), [""; 0]);
    for (from, to, says) in [
        ("preset = \"tiny8\"", "preset = \"cifar10\"", "32×32"),
        (
            "clusters = [10, 20]",
            "clusters = [10, 2000]",
            "C = 2000 is more than the 1797 images",
        ),
        (
            "method = \"ground_truth\"",
            "method = \"ground_truth\"\ncoarse = true",
            "no coarse labels",
        ),
        (
            "method = \"temi\"",
            "method = \"temi\"\ntemi = { neighbours = 1797 }",
            "expected fewer",
        ),
        (
            "dim = 32",
            "dim = 65",
            "`extractor`: 65 components of `pca` are more than the 64 values of an image of 8×8",
        ),
        ("dim = 16", "dim = 100", "`pca`: 100 components"),
    ] {
        let found = of(&TOML.replace(from, to));
        assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
    }
    let mut other = images.clone();
    other.resolution = 16;
    let found = obstacles(&SweepSpec::parse(TOML).unwrap(), images, Some(&other));
    assert!(found[0].contains("the test images are 16×16"), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever order jobs finish in, the same jobs are done and the same outcome is folded.
    #[test]
    fn the_order_of_completion_does_not_matter(order in prop::collection::vec(0usize..1_000, 1..40), few in 1usize..6) {
        let (sweep_a, mut observed_a) = sweep("digits", TOML);
        let jobs_a = run(&sweep_a, &mut observed_a, all, never);
        let (sweep_b, mut observed_b) = sweep("digits", TOML);
        let mut at = 0;
        let pick = |_: usize| { at += few; (0..few).map(|i| order[(at + i) % order.len()] + i * i).collect() };
        let jobs_b = run(&sweep_b, &mut observed_b, pick, never);
        prop_assert_eq!(jobs_a, jobs_b);
        let (a, b) = (fold(&sweep_a, &observed_a), fold(&sweep_b, &observed_b));
        prop_assert_eq!(&a, &b);
        prop_assert_eq!(serde_json::from_slice::<SweepOutcome>(&serde_json::to_vec(&a).unwrap()).unwrap(), b);
        prop_assert!(a.finished_ms > Some(SUBMITTED_MS));
    }

    /// Whatever fails, everything else is done, and everything missing has a reason.
    #[test]
    fn every_other_job_is_done_whatever_fails(failing in prop::collection::btree_set(0usize..140, 1..6)) {
        let (whole, mut observed) = sweep("digits", TOML);
        run(&whole, &mut observed, all, never);
        let labels: Vec<String> = plan(&whole, &observed).nodes.into_iter().filter(|node| node.kind.is_queued()).map(|node| node.id).collect();
        let doomed: BTreeSet<&str> = failing.iter().filter_map(|i| labels.get(*i)).map(String::as_str).collect();
        let (sweep, mut observed) = sweep("digits", TOML);
        run(&sweep, &mut observed, all, |label| doomed.contains(label));
        let plan = plan(&sweep, &observed);
        prop_assert!(plan.settled());
        let outcome = fold(&sweep, &observed);
        prop_assert_eq!(outcome.jobs.ready + outcome.jobs.waiting, 0);
        prop_assert_eq!(outcome.state == SweepState::Complete, outcome.jobs.dead == 0);
        for node in plan.nodes.iter().filter(|node| node.kind != Kind::Report) {
            let blocked_by_doomed = |by: &Vec<String>| by.iter().all(|id| doomed.contains(id.as_str()));
            match &node.state {
                State::Done { .. } => prop_assert!(!doomed.contains(node.id.as_str())),
                State::Blocked { by } => prop_assert!(blocked_by_doomed(by), "{}: {:?}", node.id, by),
                State::Dead { .. } => prop_assert!(doomed.contains(node.id.as_str())),
                other => prop_assert!(false, "{}: {:?}", node.id, other),
            }
        }
        prop_assert!(outcome.missing.iter().all(|m| !m.reason.is_empty() && !m.pending));
    }
}

//! What the planner promises, with a world that performs its jobs in any order.

mod answers;
mod keys;

use crate::{
    Knowledge, Known, Plan, State, estimate,
    fixtures::{FILLED, SUBMITTED_MS, TOML, perform, sweep},
    fold, obstacles, plan,
};
use cedm_contract::{JobKey, Kind};
use cedm_sweep::{
    Sweep, SweepSpec,
    outcome::{SweepOutcome, SweepState},
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Performs ready jobs until none is left; `pick` chooses which of them come next, `fails` which
/// never succeed.
fn run(
    sweep: &Sweep,
    known: &mut Known,
    mut pick: impl FnMut(usize) -> Vec<usize>,
    fails: impl Fn(&str) -> bool,
) -> BTreeMap<JobKey, Kind> {
    let mut performed = BTreeMap::new();
    loop {
        let plan = plan(sweep, known);
        check_sound(&plan, known);
        let ready = plan.ready();
        if ready.is_empty() {
            return performed;
        }
        let chosen: BTreeSet<usize> = pick(ready.len())
            .into_iter()
            .map(|i| i % ready.len())
            .collect();
        for index in chosen {
            let job = ready[index];
            if fails(&job.hints.label) {
                known.mark_dead(job.key.clone(), "the disk is full");
            } else {
                known.learn(perform(job, known));
            }
            assert!(
                performed.insert(job.key.clone(), job.kind()).is_none(),
                "{} was emitted again after it was performed",
                job.hints.label
            );
        }
    }
}

/// Ids are unique, nodes stand after what they wait for, and every key rests on manifests that
/// exist with the digest it pins.
fn check_sound(plan: &Plan, known: &Known) {
    let mut before = BTreeSet::new();
    for node in &plan.nodes {
        match &node.state {
            State::Waiting { on } => assert!(
                !on.is_empty() && on.iter().all(|id| before.contains(id)),
                "{}: {on:?}",
                node.id
            ),
            State::Blocked { by } => assert!(
                !by.is_empty() && by.iter().all(|id| before.contains(id)),
                "{}: {by:?}",
                node.id
            ),
            State::Done { .. } | State::Ready => assert!(node.job.is_some(), "{}", node.id),
            State::Dead { .. } => {}
        }
        for input in node.job.iter().flat_map(|job| &job.inputs) {
            let manifest = known
                .manifest(&input.key)
                .unwrap_or_else(|| panic!("{} reads {} which nobody made", node.id, input.role));
            assert_eq!(manifest.digest, input.digest, "{}", node.id);
        }
        assert!(
            before.insert(node.id.clone()),
            "two nodes are called {}",
            node.id
        );
    }
}

fn all(n: usize) -> Vec<usize> {
    (0..n).collect()
}

fn never(_: &str) -> bool {
    false
}

fn finished(toml: &str) -> (Sweep, Known, SweepOutcome) {
    let (sweep, mut known) = sweep("digits", toml);
    run(&sweep, &mut known, all, never);
    let outcome = fold(&sweep, &known);
    (sweep, known, outcome)
}

#[test]
fn neighbours_of_a_large_set_are_found_in_parts_that_depend_on_nothing_but_features() {
    let (sweep, known, _) =
        finished(&TOML.replace("[training]", "[neighbours]\npart_rows = 400\n[training]"));
    let plan = plan(&sweep, &known);
    let job = |id: &str| {
        plan.node(id)
            .unwrap_or_else(|| panic!("no {id}"))
            .job
            .clone()
            .unwrap()
    };
    let merge = job("neighbours pca-32 k=50");
    let roles: Vec<&str> = merge
        .inputs
        .iter()
        .map(|input| input.role.as_str())
        .collect();
    assert_eq!(
        roles,
        [
            "features",
            "part/00000",
            "part/00001",
            "part/00002",
            "part/00003",
            "part/00004"
        ]
    );
    for index in 0..5 {
        let part = job(&format!("neighbours pca-32 k=50 part {index}"));
        assert_eq!(
            part.inputs
                .iter()
                .map(|input| input.role.as_str())
                .collect::<Vec<_>>(),
            ["features"]
        );
    }
    // one job where the set is small, and the key that it always had
    let (whole, known, _) = finished(TOML);
    let plan = crate::plan(&whole, &known);
    let alone: Vec<_> = plan
        .nodes
        .iter()
        .filter(|node| node.kind == Kind::Neighbours)
        .collect();
    assert_eq!((alone.len(), alone[0].work.amount), (1, 1_797.0));
}

#[test]
fn a_sweep_comes_to_its_end() {
    let (sweep, known, outcome) = finished(TOML);
    let plan = plan(&sweep, &known);
    assert!(plan.complete() && plan.settled());
    assert_eq!(
        plan.report().unwrap().state,
        State::Ready,
        "only the report is left"
    );
    assert_eq!(outcome.state, SweepState::Complete);
    assert_eq!(outcome.missing, []);
    // Doubling from 5: 5, 10, 20, 40 pass, 80 fails (the fabricated images fill 43 clusters).
    let bound = &outcome.bounds[0];
    assert_eq!(
        bound
            .result
            .as_ref()
            .unwrap()
            .probes
            .iter()
            .map(|p| p.clusters)
            .collect::<Vec<_>>(),
        [5, 10, 20, 40, 80]
    );
    assert!(FILLED < 80 && bound.c_max == Some(40));
    assert_eq!(bound.candidates, [5, 20, 40]);
    let labels: Vec<&str> = outcome
        .cells
        .iter()
        .map(|cell| cell.label.as_str())
        .collect();
    assert_eq!(
        labels,
        [
            "temi C=5",
            "temi C=20",
            "temi C=40",
            "kmeans C=10",
            "kmeans C=20",
            "ground-truth C=10",
            "unconditional"
        ]
    );
    for cell in &outcome.cells {
        assert_eq!(
            cell.snapshots
                .iter()
                .map(|s| (s.nimg, s.last, s.sets.len()))
                .collect::<Vec<_>>(),
            [(1_024, false, 1), (2_016, true, 2)]
        );
        for snapshot in &cell.snapshots {
            let training = snapshot.training.as_ref().unwrap();
            assert_eq!(training.result.label_dim, cell.used.unwrap_or(0));
            let sizes: Vec<u64> = snapshot
                .sets
                .iter()
                .map(|set| set.samples.as_ref().unwrap().result.count)
                .collect();
            assert_eq!(
                sizes,
                if snapshot.last {
                    vec![300, 300]
                } else {
                    vec![100]
                }
            );
            let with_ufd = snapshot.last && cell.method != "none";
            let metrics: Vec<&str> = snapshot.summary.keys().map(String::as_str).collect();
            assert_eq!(
                metrics,
                if with_ufd {
                    vec!["pca/fd", "pca/precision", "pca/ufd"]
                } else {
                    vec!["pca/fd", "pca/precision"]
                }
            );
        }
        assert_eq!(
            cell.snapshots[1]
                .sets
                .iter()
                .map(|set| set.first_seed)
                .collect::<Vec<_>>(),
            [0, 300],
            "seeds follow on each other"
        );
    }
}

#[test]
fn the_answer_is_the_least_distance_among_clusterings() {
    let (_, _, outcome) = finished(TOML);
    let answer = outcome.answer.unwrap();
    let means: BTreeMap<&str, f64> = outcome
        .cells
        .iter()
        .map(|c| (c.label.as_str(), c.snapshots[1].summary["pca/fd"].mean))
        .collect();
    let best = outcome
        .cells
        .iter()
        .filter(|c| ["temi", "kmeans"].contains(&c.method.as_str()))
        .map(|c| c.label.as_str());
    let best = best.min_by(|a, b| means[a].total_cmp(&means[b])).unwrap();
    assert_eq!(
        (
            answer.metric.as_str(),
            answer.best.as_str(),
            answer.score.values.len()
        ),
        ("pca/fd", best, 2)
    );
    let against: BTreeMap<&str, f64> = answer
        .comparisons
        .iter()
        .map(|c| (c.with.as_str(), c.relative))
        .collect();
    assert!(
        (against["unconditional"] - (means[best] / means["unconditional"] - 1.0)).abs() < 1e-12
    );
    assert!(against.contains_key("ground-truth C=10"));
    assert!(
        answer
            .headline
            .starts_with(&format!("best: {best} with FD (pca) ")),
        "{}",
        answer.headline
    );
}

#[test]
fn identical_work_of_two_sweeps_has_identical_keys() {
    let (_, known, _) = finished(TOML);
    let text = TOML
        .replace(
            "method = \"kmeans\"",
            "name = \"lloyd\"\nmethod = \"kmeans\"",
        )
        .replace("sets = 2", "sets = 3");
    let (mut other, _) = sweep("another", &text);
    other.submitted_ms += 1_000;
    let plan = plan(&other, &known);
    let open: BTreeSet<Kind> = plan
        .nodes
        .iter()
        .filter(|n| !matches!(n.state, State::Done { cached: true, .. }))
        .map(|n| n.kind)
        .collect();
    assert_eq!(
        open,
        BTreeSet::from([
            Kind::Sample,
            Kind::SampleSet,
            Kind::Measure,
            Kind::Score,
            Kind::Report
        ]),
        "only the third sets are new"
    );
    assert_eq!(
        plan.ready().len(),
        7 * 3,
        "three shards for each of seven networks"
    );
    let counts = fold(&other, &known).jobs;
    assert_eq!(counts.cached, counts.done);
}

#[test]
fn a_dead_cell_fails_alone() {
    let (sweep, mut known) = sweep("digits", TOML);
    run(&sweep, &mut known, all, |label| {
        label == "train temi C=20 to 1.024 kimg"
    });
    let outcome = fold(&sweep, &known);
    assert_eq!(outcome.state, SweepState::Incomplete);
    assert_eq!(
        plan(&sweep, &known).report().unwrap().state,
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
    // Replayed and done, the sweep completes.
    let key = dead.key.clone().unwrap();
    known.revive(&key);
    run(&sweep, &mut known, all, never);
    assert_eq!(fold(&sweep, &known).state, SweepState::Complete);
}

#[test]
fn without_any_passing_c_the_other_networks_still_come() {
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
    // nothing passes: the fabricated images fill 43 clusters
    let toml = TOML.replace(
        "start = 5",
        "start = 100\nlower_bound = true\nlower_bound_clusters = [100, 400]",
    );
    let (start, known) = sweep("digits", &toml);
    assert!(
        plan(&start, &known)
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

#[test]
fn what_cannot_be_keyed_yet_says_what_it_waits_for() {
    let (sweep, known) = sweep("digits", TOML);
    let first = plan(&sweep, &known);
    let ready: BTreeSet<&str> = first
        .ready()
        .iter()
        .map(|job| job.hints.label.as_str())
        .collect();
    assert_eq!(
        ready,
        BTreeSet::from([
            "fit pca-32",
            "fit pca-16",
            "bound temi step 1",
            "cluster ground-truth C=10",
            "train unconditional to 1.024 kimg"
        ])
    );
    let waits = |id: &str| match &first.node(id).unwrap_or_else(|| panic!("no {id}")).state {
        State::Waiting { on } => on.clone(),
        other => panic!("{id} is {other:?}"),
    };
    assert_eq!(waits("extract pca-32 shard 0"), ["fit pca-32"]);
    assert_eq!(
        waits("features pca-32"),
        ["extract pca-32 shard 0", "extract pca-32 shard 1"]
    );
    assert_eq!(
        waits("cluster temi C=5"),
        ["features pca-32", "neighbours pca-32 k=50"],
        "the first probe is known before the first step"
    );
    assert_eq!(
        waits("train temi C=?2 to 1.024 kimg"),
        ["bound temi step 1"]
    );
    assert_eq!(
        waits("train ground-truth C=10 to 2.016 kimg"),
        [
            "cluster ground-truth C=10",
            "train ground-truth C=10 to 1.024 kimg"
        ]
    );
    let kinds: BTreeMap<Kind, u64> = estimate(&first)
        .into_iter()
        .map(|row| (row.kind, row.jobs))
        .collect();
    assert_eq!(
        kinds[&Kind::Train],
        14,
        "seven networks, two segments each, while the bound is not known"
    );
    let left = estimate(&first)
        .into_iter()
        .find(|row| row.kind == Kind::Train)
        .unwrap();
    assert!((left.work_left - 7.0 * 2.016).abs() < 1e-9 && left.unit == "kimg");
}

#[test]
fn a_missing_image_set_stops_everything_with_its_reason() {
    let (sweep, _) = sweep("digits", TOML);
    let nothing = Known::default();
    let plan = plan(&sweep, &nothing);
    assert!(plan.ready().is_empty() && plan.settled() && !plan.complete());
    assert!(
        fold(&sweep, &nothing).missing[0]
            .reason
            .contains("import it again")
    );
}

#[test]
fn obstacles_show_before_anything_runs() {
    let (sweep, known) = sweep("digits", TOML);
    let cedm_contract::JobResult::Import(images) = &known.manifest(&sweep.images).unwrap().result
    else {
        panic!("import")
    };
    let of = |toml: &str| obstacles(&SweepSpec::parse(toml).unwrap(), images);
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
    ] {
        let found = of(&TOML.replace(from, to));
        assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever order jobs finish in, the same jobs are done and the same outcome is folded.
    #[test]
    fn the_order_of_completion_does_not_matter(order in prop::collection::vec(0usize..1_000, 1..40), few in 1usize..6) {
        let (sweep_a, mut known_a) = sweep("digits", TOML);
        let jobs_a = run(&sweep_a, &mut known_a, all, never);
        let (sweep_b, mut known_b) = sweep("digits", TOML);
        let mut at = 0;
        let pick = |_: usize| { at += few; (0..few).map(|i| order[(at + i) % order.len()] + i * i).collect() };
        let jobs_b = run(&sweep_b, &mut known_b, pick, never);
        prop_assert_eq!(jobs_a, jobs_b);
        let (a, b) = (fold(&sweep_a, &known_a), fold(&sweep_b, &known_b));
        prop_assert_eq!(&a, &b);
        prop_assert_eq!(serde_json::from_slice::<SweepOutcome>(&serde_json::to_vec(&a).unwrap()).unwrap(), b);
        prop_assert!(a.finished_ms > Some(SUBMITTED_MS));
    }

    /// Whatever fails, everything else is done, and everything missing has a reason.
    #[test]
    fn whatever_fails_the_rest_goes_on(unlucky in prop::collection::btree_set(0usize..140, 1..6)) {
        let (whole, mut known) = sweep("digits", TOML);
        run(&whole, &mut known, all, never);
        let labels: Vec<String> = plan(&whole, &known).nodes.into_iter().filter(|node| node.kind.is_queued()).map(|node| node.id).collect();
        let doomed: BTreeSet<&str> = unlucky.iter().filter_map(|i| labels.get(*i)).map(String::as_str).collect();
        let (sweep, mut known) = sweep("digits", TOML);
        run(&sweep, &mut known, all, |label| doomed.contains(label));
        let plan = plan(&sweep, &known);
        prop_assert!(plan.settled());
        let outcome = fold(&sweep, &known);
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

#[test]
fn an_adapted_backbone_comes_before_every_extraction() {
    let toml = TOML.replacen(
        "name = \"pca\"\ndim = 32",
        "name = \"vit\"\nadapt = { epochs = 3 }",
        1,
    );
    let (sweep, known, outcome) = finished(&toml);
    let plan = plan(&sweep, &known);
    let adapt = plan
        .nodes
        .iter()
        .find(|node| node.kind == Kind::Adapt)
        .unwrap();
    assert_eq!(adapt.id, "adapt vit-adapted");
    let key = &adapt.job.as_ref().unwrap().key;
    for node in plan.nodes.iter().filter(|node| node.kind == Kind::Extract) {
        assert_eq!(
            &node.job.as_ref().unwrap().input("adapted").unwrap().key,
            key,
            "{}",
            node.id
        );
    }
    let features = outcome.features.unwrap();
    assert_eq!(
        (
            features.adapted.unwrap().steps,
            features.judged.unwrap().knn_accuracy
        ),
        (10, 0.9)
    );
}

#[test]
fn features_are_judged_where_they_cluster_and_labels_exist() {
    let judged = |toml: &str| {
        let (sweep, known, _) = finished(toml);
        plan(&sweep, &known)
            .nodes
            .iter()
            .filter(|node| node.kind == Kind::FeatureEvaluation)
            .count()
    };
    assert_eq!(judged(TOML), 1);
    let start = TOML.find("[[clustering]]").unwrap();
    let end = TOML.find("[bound]").unwrap();
    let without = TOML.replacen(&TOML[start..end], "[[clustering]]\nmethod = \"none\"\n", 1);
    assert_eq!(
        judged(&without),
        0,
        "nothing is extracted for a judgement alone"
    );
}

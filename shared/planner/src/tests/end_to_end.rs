//! A whole sweep: from the first plan to the answer, and what two sweeps share.

use super::finished;
use crate::{
    KindEstimate, State, estimate,
    fixtures::{FILLED, IMAGES, TOML, sweep},
    fold, plan,
};
use cedm_contract::Kind;
use cedm_sweep::outcome::SweepState;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn a_sweep_is_planned_until_only_the_report_is_left() {
    let (sweep, observed, outcome) = finished(TOML);
    let plan = plan(&sweep, &observed);
    assert!(plan.complete() && plan.settled());
    assert_eq!(
        plan.report().unwrap().state,
        State::Ready,
        "only the report is left"
    );
    assert_eq!(outcome.state, SweepState::Complete);
    assert_eq!(outcome.missing, []);
    // Doubling from 5: 5, 10, 20, 40 pass, 80 fails (the made-up images fill 43 clusters).
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
            .starts_with(&format!("{best} has the lowest FD (pca) of 5: ")),
        "{}",
        answer.headline
    );
}

#[test]
fn identical_work_of_two_sweeps_has_identical_keys() {
    let (_, observed, _) = finished(TOML);
    let text = TOML
        .replace(
            "method = \"kmeans\"",
            "name = \"lloyd\"\nmethod = \"kmeans\"",
        )
        .replace("sets = 2", "sets = 3");
    let (mut other, _) = sweep("another", &text);
    other.submitted_ms += 1_000;
    let plan = plan(&other, &observed);
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
            Kind::Reference,
            Kind::Score,
            Kind::Report
        ]),
        "only the third sets are new, and the unconditional one as what `ufd` compares with"
    );
    assert_eq!(
        plan.ready().len(),
        7 * 3,
        "three shards for each of seven networks"
    );
    let counts = fold(&other, &observed).jobs;
    assert_eq!(counts.cached, counts.done);
}

#[test]
fn a_node_without_a_key_names_what_it_waits_for() {
    let (sweep, observed) = sweep("digits", TOML);
    let first = plan(&sweep, &observed);
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
        "the first probe is observed before the first step"
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
    let kinds: BTreeMap<Kind, u64> = estimate(&first, &sweep.spec, IMAGES)
        .into_iter()
        .map(|row| (row.kind, row.jobs))
        .collect();
    assert_eq!(
        kinds[&Kind::Train],
        14,
        "seven networks, two segments each, while the bound is not observed"
    );
    let left = estimate(&first, &sweep.spec, IMAGES)
        .into_iter()
        .find(|row| row.kind == Kind::Train)
        .unwrap();
    assert!((left.work_left - 7.0 * 2.016).abs() < 1e-9 && left.unit == "kimg");
}

#[test]
fn estimates_before_the_bound_is_known_hold_what_comes() {
    let toml = TOML
        .replace("candidate_rule = \"probes\"\n", "")
        .replace("clusters = [10, 20]", "clusters = \"bound\"");
    let (sweep, observed) = sweep("digits", &toml);
    let before = estimate(&plan(&sweep, &observed), &sweep.spec, IMAGES);
    let (sweep, observed, _) = finished(&toml);
    let after = estimate(&plan(&sweep, &observed), &sweep.spec, IMAGES);
    for row in &after {
        let then = before.iter().find(|then| then.kind == row.kind).unwrap();
        assert!(
            (then.least.jobs..=then.most.jobs).contains(&row.jobs)
                && (then.least.jobs..=then.most.jobs).contains(&then.jobs),
            "{}: {} came, {then:?}",
            row.kind,
            row.jobs
        );
        assert_eq!(
            (row.least.jobs, row.most.jobs),
            (row.jobs, row.jobs),
            "{row:?}"
        );
    }
    let of =
        |rows: &[KindEstimate], kind| rows.iter().find(|row| row.kind == kind).unwrap().clone();
    let clusterings = of(&before, Kind::Cluster);
    // Ground truth and the first C are known; the search, and each method's candidates, are not.
    assert_eq!(clusterings.least.jobs, 2);
    assert!(
        clusterings.jobs > 8 && clusterings.most.jobs > clusterings.jobs,
        "{clusterings:?}"
    );
    let trainings = of(&before, Kind::Train);
    assert_eq!(
        (trainings.least.jobs, trainings.jobs),
        (4, 16),
        "two segments each"
    );
}

//! Sets of more shards than one message can name.

use super::{all, never, run};
use crate::{
    Node, Plan, State,
    fixtures::{TOML, image_set_of, sweep, sweep_on},
    plan,
};
use cedm_contract::{
    JobKind, Kind, MAX_MESSAGE_BYTES,
    kinds::{
        features::FeaturesParams, reference::ReferenceParams, sample_set::SampleSetParams,
        score::ScoreParams,
    },
};
use cedm_sweep::Sweep;
use std::collections::BTreeMap;

/// One network on k-means clusters and one without, each with one sample set of `images` shards.
fn toml(images: u64) -> String {
    format!(
        r#"
[images]
set = "digits"
[extractor]
name = "pca"
dim = 32
[[clustering]]
method = "kmeans"
clusters = [10]
[[clustering]]
method = "none"
[bound]
candidates = 1
[training]
preset = "tiny8"
budget_kimg = 1
snapshots = 1
[sampling]
sets = 1
images = {images}
snapshot_images = 0
shard_size = 1
[evaluation]
extractor = {{ name = "pca", dim = 16 }}
metrics = ["fd", "ufd"]
"#
    )
}

/// Shards in the images and in every sample set alike.
fn plan_of(shards: u64) -> (Sweep, Plan) {
    let (sweep, observed) = sweep_on(image_set_of(shards), "large", &toml(shards));
    let plan = plan(&sweep, &observed);
    (sweep, plan)
}

fn nodes(plan: &Plan, kind: Kind) -> Vec<&Node> {
    plan.nodes.iter().filter(|node| node.kind == kind).collect()
}

/// Numbers of jobs by kind.
fn jobs(plan: &Plan) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    for node in &plan.nodes {
        *counts.entry(node.kind).or_default() += 1;
    }
    counts
}

/// What parts of 400 make of so many shards: jobs that list parts, and inputs of the job at the
/// top.
fn tree(shards: usize, capacity: usize) -> (usize, usize) {
    let (mut inputs, mut parts) = (shards, 0);
    while inputs > capacity {
        inputs = inputs.div_ceil(400);
        parts += inputs;
    }
    (parts, inputs)
}

/// Every job of a plan of so many shards is there, and no job that lists shards has more inputs
/// than its message has room for.
fn check_plan(shards: usize) {
    let (_, plan) = plan_of(shards as u64);
    let (parts, _) = tree(shards, 470);
    let counts = jobs(&plan);
    assert_eq!(counts[&Kind::Features], 1 + parts, "{shards} shards");
    assert_eq!(counts[&Kind::SampleSet], 2 * (1 + parts), "{shards} shards");
    assert_eq!(counts[&Kind::Score], 2, "{shards} shards");
    // Of the training images and of the unconditional network's samples; the parts of the latter
    // are those of its score, the other network's are listed for its score alone.
    let references = (1 + parts) + (1 + parts) + parts;
    assert_eq!(counts[&Kind::Reference], references, "{shards} shards");
    let leaves = [Kind::Extract, Kind::Sample, Kind::Measure].map(|kind| counts[&kind]);
    assert_eq!(leaves, [shards, 2 * shards, 3 * shards]);
    for node in plan.nodes.iter().filter(|node| node.kind.is_queued()) {
        assert_eq!(node.unsendable(), None, "{}", node.id);
        if let State::Waiting { on } = &node.state {
            assert!(on.len() <= 480, "{} waits for {}", node.id, on.len());
        }
    }
}

#[test]
fn plans_of_many_shards_are_trees_of_jobs_that_fit_into_a_message() {
    for shards in [300, 599, 1_300, 100_000] {
        check_plan(shards);
    }
}

/// Parts of parts: 200,000 shards are 500 parts, which are two.
#[test]
fn so_many_parts_are_listed_in_parts_again() {
    let (sweep, observed) = sweep_on(image_set_of(200_000), "huge", &toml(2));
    let plan = plan(&sweep, &observed);
    assert_eq!(tree(200_000, 470), (502, 2));
    let features = nodes(&plan, Kind::Features);
    assert_eq!(features.len(), 1 + 502);
    let State::Waiting { on } = &features[502].state else {
        panic!("{:?}", features[502].state)
    };
    assert_eq!(
        on,
        &["features pca-32 part 1.0", "features pca-32 part 1.1"]
    );
}

/// Number of inputs of every job of a kind, in the order of the plan.
fn inputs(plan: &Plan, kind: Kind) -> Vec<usize> {
    let jobs = nodes(plan, kind).into_iter();
    jobs.map(|node| node.job.as_ref().unwrap().inputs.len())
        .collect()
}

/// The whole sweep is completed, every message fits, and every part says what it is.
#[test]
fn sweeps_of_many_shards_are_completed() {
    for (shards, cut) in [(599, vec![400, 199]), (1_300, vec![400, 400, 400, 100])] {
        let (sweep, mut observed) = sweep_on(image_set_of(shards), "large", &toml(shards));
        run(&sweep, &mut observed, all, never);
        let plan = plan(&sweep, &observed);
        assert!(plan.complete());
        for node in plan.nodes.iter().filter(|node| node.kind.is_queued()) {
            let bytes = node.job.as_ref().unwrap().encode().unwrap().len();
            assert!(bytes == node.message_bytes() && bytes <= MAX_MESSAGE_BYTES);
        }
        let top = cut.len();
        let whole: Vec<usize> = cut.iter().copied().chain([top]).collect();
        assert_eq!(inputs(&plan, Kind::Features), whole);
        assert_eq!(
            inputs(&plan, Kind::SampleSet),
            [whole.clone(), whole].concat()
        );
        assert_eq!(inputs(&plan, Kind::Score), [top + 2, top + 1]);

        let params = |node: &&Node| node.job.as_ref().unwrap().spec.clone();
        let partial = |kind, is_partial: fn(&cedm_contract::JobSpec) -> bool| {
            let specs = nodes(&plan, kind).into_iter().map(|node| params(&node));
            specs.filter(is_partial).count()
        };
        let parts_of_features = partial(Kind::Features, |spec| {
            params_of::<FeaturesParams>(spec).partial
        });
        let parts_of_references = partial(Kind::Reference, |spec| {
            params_of::<ReferenceParams>(spec).partial
        });
        assert_eq!((parts_of_features, parts_of_references), (top, 3 * top));
        // The parts of a sample set are sets whose seeds follow on each other.
        let sets = nodes(&plan, Kind::SampleSet).into_iter().take(top + 1);
        let seeds: Vec<(u64, u64)> = sets
            .map(|node| params(&node))
            .map(|spec| params_of::<SampleSetParams>(&spec).clone())
            .map(|set| (set.first_seed, set.count))
            .collect();
        let mut next = 0;
        for (part, (first, count)) in cut.iter().zip(&seeds) {
            assert_eq!((*first, *count), (next, *part as u64));
            next += count;
        }
        assert_eq!(seeds[top], (0, shards));
        // A score reads the parts of its own set.
        for score in nodes(&plan, Kind::Score) {
            let job = score.job.as_ref().unwrap();
            let inputs = job.inputs_of::<ScoreParams>().unwrap();
            let parts = inputs.shards.iter().map(|input| {
                let mut made_by = plan.nodes_of(&input.key);
                made_by.next().unwrap().id.clone()
            });
            let set = score.id.trim_start_matches("score pca ");
            for (index, part) in parts.enumerate() {
                assert_eq!(part, format!("reference pca-16 {set} part 0.{index}"));
            }
        }
        // A part is no set of the sweep, and its report has none of them.
        let outcome = crate::fold(&sweep, &observed);
        let counts: Vec<u64> = outcome
            .cells
            .iter()
            .flat_map(|cell| &cell.snapshots[0].sets)
            .map(|set| set.samples.as_ref().unwrap().result.count)
            .collect();
        assert_eq!(counts, [shards, shards]);
        let report = plan.report().unwrap().job.as_ref().unwrap();
        assert!(
            report
                .inputs
                .iter()
                .all(|input| !input.role.contains("part"))
        );
    }
}

fn params_of<K: JobKind>(spec: &cedm_contract::JobSpec) -> &K {
    K::in_spec(spec).unwrap()
}

/// What fits into one message is one job with the key that it always had: the cut begins with the
/// first set that does not fit, which depends on what else the message holds.
#[test]
fn only_what_does_not_fit_is_cut() {
    let planned = |shards: u64| {
        let (sweep, observed) = sweep_on(image_set_of(shards), "edge", &toml(2));
        plan(&sweep, &observed)
    };
    let merges = |shards: u64| {
        let (sweep, mut observed) = sweep_on(image_set_of(shards), "edge", &toml(2));
        run(&sweep, &mut observed, all, never);
        plan(&sweep, &observed)
    };
    let largest = (441..500)
        .take_while(|shards| nodes(&planned(*shards), Kind::Features).len() == 1)
        .last()
        .unwrap();
    let bytes = |shards| nodes(&merges(shards), Kind::Features)[0].message_bytes();
    let (one, two) = (bytes(largest - 1), bytes(largest));
    assert!(
        two <= MAX_MESSAGE_BYTES && two + (two - one) > MAX_MESSAGE_BYTES,
        "cut at {largest} shards of {} bytes in {two}",
        two - one
    );
    assert_eq!(inputs(&merges(largest + 1), Kind::Features).len(), 3);
}

/// Sets that fit into one message are merged as they always were.
#[test]
fn small_sets_have_one_merge() {
    let (sweep, mut observed) = sweep("small", TOML);
    run(&sweep, &mut observed, all, never);
    let plan = plan(&sweep, &observed);
    assert_eq!(nodes(&plan, Kind::Features).len(), 1);
    let jobs: Vec<_> = plan.nodes.iter().filter_map(|n| n.job.as_ref()).collect();
    let json = serde_json::to_string(&jobs).unwrap();
    assert!(
        !json.contains("partial") && !json.contains("moments\":["),
        "what is absent is not written"
    );
}

/// A search whose probes outgrow its message ends there, with a reason and a key by which a person
/// finds it; the rest of the sweep goes on.
#[test]
fn a_job_that_has_grown_too_large_is_dead_and_says_why() {
    let toml = TOML.replacen("start = 5", "start = 5\nseeds = 100", 1);
    let (sweep, mut observed) = sweep("seeds", &toml);
    run(&sweep, &mut observed, all, never);
    let plan = plan(&sweep, &observed);
    assert!(plan.settled() && !plan.complete());
    let step = plan.node("bound temi step 6").unwrap();
    let State::Dead { reason } = &step.state else {
        panic!("{:?}", step.state)
    };
    assert!(
        reason.contains("501 inputs") && reason.contains("65536"),
        "{reason}"
    );
    assert_eq!(step.unsendable().as_ref(), Some(reason));
    assert!(step.job.is_some(), "its inputs are all there");
    let outcome = crate::fold(&sweep, &observed);
    let mut missing = outcome.missing.iter();
    assert!(
        missing.any(|missing| missing.what == step.id && missing.reason == *reason),
        "{:?}",
        outcome.missing
    );
    let done = |id: &str| matches!(plan.node(id).unwrap().state, State::Done { .. });
    assert!(done("score pca kmeans C=10 at 2.016 kimg, set 0"));
}

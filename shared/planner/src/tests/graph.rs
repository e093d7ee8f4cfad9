//! A graph that follows events equals the plan that is made from scratch.

use crate::{
    Graph, Observed, ObservedState, Plan, State, distinct,
    fixtures::{perform, second_import, sweep},
    plan,
};
use cedm_contract::{Digest, JobKey, Kind, Manifest, ObjectRef, Output};
use cedm_sweep::{Sweep, outcome::JobCounts};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Something that happens, to a job that a number picks.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// Some ready jobs are done, one after the other.
    Done { first: usize, count: usize },
    /// A ready job becomes a dead letter.
    Dead(usize),
    /// A dead letter is replayed.
    Replayed(usize),
    /// A result is discarded, that of an import among them.
    Discarded(usize),
    /// A result is discarded, and made again with other bytes before anyone looks.
    MadeAnew(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    let number = 0usize..10_000;
    prop_oneof![
        6 => (number.clone(), 1usize..12).prop_map(|(first, count)| Happening::Done { first, count }),
        2 => number.clone().prop_map(Happening::Dead),
        2 => number.clone().prop_map(Happening::Replayed),
        1 => number.clone().prop_map(Happening::Discarded),
        1 => number.prop_map(Happening::MadeAnew),
    ]
}

/// A sweep file, small enough to be planned a few hundred times.
fn sweep_file() -> impl Strategy<Value = String> {
    let clusterings = prop::sample::subsequence(
        vec![
            "method = \"temi\"\nclusters = \"bound\"",
            "method = \"kmeans\"\nclusters = [10, 20]",
            "method = \"kmeans\"\nname = \"again\"\nclusters = [10]",
            "method = \"ground_truth\"",
            "method = \"none\"",
        ],
        1..4,
    );
    (clusterings, 1u32..3, 1u32..3, 0u32..2, any::<bool>()).prop_map(
        |(clusterings, snapshots, sets, uniform, compares)| {
            let clusterings: String = clusterings
                .iter()
                .map(|lines| format!("[[clustering]]\n{lines}\n"))
                .collect();
            let metrics = if compares && clusterings.contains("none") {
                "\"fd\", \"ufd\""
            } else {
                "\"fd\""
            };
            format!(
                r#"
[images]
set = "digits"
[extractor]
name = "pca"
dim = 32
{clusterings}
[bound]
start = 20
fine_step = 8
candidates = 2
[training]
preset = "tiny8"
budget_kimg = 2
snapshots = {snapshots}
[sampling]
sets = {sets}
images = 200
snapshot_images = 100
uniform_sets = {uniform}
shard_size = 100
[evaluation]
extractor = {{ name = "pca", dim = 16 }}
metrics = [{metrics}]
"#
            )
        },
    )
}

/// A graph that was kept up to date, with what it follows.
struct Kept {
    sweep: Sweep,
    observed: Observed,
    graph: Graph,
    /// Manifests of images, which no job makes.
    imports: Vec<Manifest>,
}

impl Kept {
    fn new(toml: &str, with_test_images: bool) -> Self {
        let (mut sweep, mut observed) = sweep("digits", toml);
        let mut imports = vec![observed.manifest(&sweep.images).unwrap().clone()];
        if with_test_images {
            imports.push(second_import());
            sweep.test_images = Some(imports[1].key.clone());
            observed.record(imports[1].clone());
        }
        let graph = Graph::new(&sweep, &observed);
        Self {
            sweep,
            observed,
            graph,
            imports,
        }
    }

    fn tell(&mut self, key: &JobKey) {
        self.graph.update(&self.sweep, &self.observed, key);
        self.check();
    }

    /// The graph says what the plan from scratch says, in every way that it can be asked.
    fn check(&self) {
        let (graph, observed) = (&self.graph, &self.observed);
        let plan = plan(&self.sweep, observed);
        assert_eq!(graph.plan(observed), plan);
        let ready: BTreeSet<&JobKey> = plan.ready().into_iter().map(|job| &job.key).collect();
        assert_eq!(graph.ready_keys().collect::<BTreeSet<_>>(), ready);
        assert!(ready.iter().all(|key| graph.is_ready(key)));
        assert_eq!(graph.counts(), counts(&plan));
        assert_eq!(
            (graph.settled(), graph.complete()),
            (plan.settled(), plan.complete())
        );
        let report = plan.report().and_then(|node| node.job.clone());
        assert_eq!(graph.report_job(observed), report);
        for node in plan.nodes.iter().filter(|node| node.kind != Kind::Report) {
            if let Some(job) = &node.job {
                assert!(graph.contains(&job.key));
                assert_eq!(graph.job(&job.key, observed).unwrap().key, job.key);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Done { first, count } => {
                for at in first..first + count {
                    let Some(key) = self.ready(at) else { return };
                    let job = self.graph.job(&key, &self.observed).unwrap();
                    self.observed.record(perform(&job, &self.observed));
                    self.tell(&key);
                }
            }
            Happening::Dead(at) => {
                let Some(key) = self.ready(at) else { return };
                self.observed.record_dead(key.clone(), "the disk is full");
                self.tell(&key);
            }
            Happening::Replayed(at) => {
                let plan = self.graph.plan(&self.observed);
                let dead: Vec<JobKey> = keys(&plan, |state| matches!(state, State::Dead { .. }));
                let Some(key) = pick(&dead, at) else { return };
                self.observed.clear_dead(&key);
                self.tell(&key);
            }
            Happening::Discarded(at) => {
                let Some(key) = self.result(at) else { return };
                self.observed.remove(&key);
                self.tell(&key);
                // Nothing comes of a sweep without images.
                let import = self.imports.iter().find(|import| import.key == key);
                if let Some(import) = import.cloned() {
                    self.observed.record(import);
                    self.tell(&key);
                }
            }
            Happening::MadeAnew(at) => {
                let Some(key) = self.result(at) else { return };
                let mut manifest = self.observed.manifest(&key).unwrap().clone();
                let number = manifest.outputs.len();
                manifest.outputs.push(Output {
                    name: format!("again-{number}"),
                    object: ObjectRef {
                        object: "object/again".to_owned(),
                        size: 1,
                        digest: Digest::of(b"again"),
                    },
                    volatile: false,
                });
                manifest.digest = Manifest::digest_of(&manifest.outputs, &manifest.result);
                self.observed.record(manifest);
                self.tell(&key);
            }
        }
    }

    fn ready(&self, at: usize) -> Option<JobKey> {
        let ready: BTreeSet<&JobKey> = self.graph.ready_keys().collect();
        pick(&ready.into_iter().cloned().collect::<Vec<_>>(), at)
    }

    /// The key of a result of this sweep.
    fn result(&self, at: usize) -> Option<JobKey> {
        let keys: BTreeSet<&JobKey> = self.observed.keys().collect();
        pick(&keys.into_iter().cloned().collect::<Vec<_>>(), at)
    }
}

fn counts(plan: &Plan) -> JobCounts {
    let mut counts = JobCounts::default();
    for node in distinct(&plan.nodes).filter(|node| node.kind != Kind::Report) {
        match &node.state {
            State::Done { cached, .. } => {
                counts.done += 1;
                counts.cached += u64::from(*cached);
            }
            State::Ready => counts.ready += 1,
            State::Waiting { .. } => counts.waiting += 1,
            State::Dead { .. } => counts.dead += 1,
            State::Blocked { .. } => counts.blocked += 1,
        }
    }
    counts
}

fn keys(plan: &Plan, is_meant: impl Fn(&State) -> bool) -> Vec<JobKey> {
    let nodes = plan.nodes.iter().filter(|node| is_meant(&node.state));
    nodes
        .filter_map(|node| Some(node.job.as_ref()?.key.clone()))
        .collect()
}

fn pick(keys: &[JobKey], at: usize) -> Option<JobKey> {
    (!keys.is_empty()).then(|| keys[at % keys.len()].clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_graph_that_follows_events_is_the_plan_from_scratch(
        toml in sweep_file(),
        with_test_images in any::<bool>(),
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let mut kept = Kept::new(&toml, with_test_images);
        kept.check();
        for happening in happenings {
            kept.happen(happening);
        }
        // And on to the end. A dead job whose input was discarded shows again once that is made.
        loop {
            let plan = kept.graph.plan(&kept.observed);
            let dead = keys(&plan, |state| matches!(state, State::Dead { .. }));
            if dead.is_empty() && kept.ready(0).is_none() {
                break;
            }
            for key in dead {
                kept.observed.clear_dead(&key);
                kept.graph.update(&kept.sweep, &kept.observed, &key);
            }
            while let Some(key) = kept.ready(0) {
                let job = kept.graph.job(&key, &kept.observed).unwrap();
                kept.observed.record(perform(&job, &kept.observed));
                kept.graph.update(&kept.sweep, &kept.observed, &key);
            }
        }
        kept.check();
        prop_assert!(kept.graph.complete());
    }
}

/// Results that are told in any order, and late: the last word is the plan.
#[test]
fn several_changes_may_be_told_one_after_the_other() {
    let mut kept = Kept::new(crate::fixtures::TOML, false);
    let before = Graph::new(&kept.sweep, &kept.observed);
    let mut told = Vec::new();
    while let Some(key) = kept.ready(7) {
        let job = kept.graph.job(&key, &kept.observed).unwrap();
        kept.observed.record(perform(&job, &kept.observed));
        kept.graph.update(&kept.sweep, &kept.observed, &key);
        told.push(key);
    }
    assert!(kept.graph.complete());
    kept.graph = before;
    for key in told.iter().rev().chain(&told) {
        kept.graph.update(&kept.sweep, &kept.observed, key);
    }
    kept.check();
    assert!(kept.graph.complete());
}

/// What a coordinator keeps gives the same plan as the whole manifests.
#[test]
fn the_digests_of_results_are_enough_to_plan() {
    let (sweep, imported) = sweep("digits", crate::fixtures::TOML);
    let (mut whole, mut slim) = (imported.clone(), Observed::for_planning());
    slim.record(imported.manifest(&sweep.images).unwrap().clone());
    let mut graph = Graph::new(&sweep, &slim);
    loop {
        let fresh = graph.take_fresh();
        if fresh.is_empty() {
            break;
        }
        for key in fresh {
            let manifest = perform(&graph.job(&key, &slim).unwrap(), &whole);
            whole.record(manifest.clone());
            slim.record(manifest);
            graph.update(&sweep, &slim, &key);
        }
    }
    assert_eq!(graph.plan(&slim), plan(&sweep, &whole));
    assert!(graph.complete());
    let kept: Vec<Kind> = whole
        .keys()
        .filter_map(|key| slim.manifest(key))
        .map(Manifest::kind)
        .collect();
    assert!(kept.contains(&Kind::Bound) && !kept.contains(&Kind::Score));
}

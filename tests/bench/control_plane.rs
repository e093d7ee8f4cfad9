//! The Rust half of `tests/bench/control-plane.py`: plan, event, fold and memory of one sweep of
//! about so many jobs, as one JSON line. Results are made up; no job runs.

#[path = "../../shared/planner/src/fixtures.rs"]
#[allow(dead_code, unreachable_pub)]
mod fixtures;

use cedm_planner::{Graph, Observed, ObservedState, fold, plan};
use cedm_sweep::Sweep;
use fixtures::{image_set_of, perform, sweep_on};
use serde_json::json;
use std::{hint::black_box, time::Instant};

/// Networks of a sweep: the most that one list may name.
const MOST_CELLS: usize = 10_000;
/// Jobs of one sample set of three shards: its shards, their measures, the set and its score.
const JOBS_OF_SET: usize = 8;

fn main() {
    let nodes = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let Some(nodes) = nodes else {
        eprintln!("usage: control-plane NODES");
        std::process::exit(2);
    };
    let folds = std::env::args().nth(2).is_none_or(|text| text != "no-fold");
    println!("{}", measure(nodes, folds));
}

/// A sweep of about so many jobs: k-means at many C, each with one network and some sample sets.
fn sweep_of(nodes: usize) -> (Sweep, cedm_contract::Manifest) {
    let of_cell = 2 + JOBS_OF_SET;
    let cells = (nodes / of_cell).clamp(1, MOST_CELLS);
    let sets = ((nodes / cells).saturating_sub(2) / JOBS_OF_SET).max(1);
    let clusters: Vec<String> = (2..2 + cells).map(|c| c.to_string()).collect();
    let clusters = clusters.join(", ");
    let toml = format!(
        r#"
[images]
set = "digits"
[extractor]
name = "pca"
dim = 32
[[clustering]]
method = "kmeans"
clusters = [{clusters}]
[bound]
candidates = 1
[training]
preset = "tiny8"
budget_kimg = 1
snapshots = 1
[sampling]
sets = {sets}
images = 300
snapshot_images = 0
shard_size = 100
[evaluation]
extractor = {{ name = "pca", dim = 16 }}
metrics = ["fd", "precision"]
"#
    );
    let mut images = image_set_of(60);
    images.count = 60_000;
    let (sweep, observed) = sweep_on(images, "large", &toml);
    let import = observed.manifest(&sweep.images).cloned();
    (
        sweep,
        import.expect("invariant: the made-up images are imported"),
    )
}

/// Seconds that this thread has been on a core: what other programs do beside it does not count.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.unwrap_or(0.0) / 1e9
}

/// What `work` returns, and how many seconds it took; a few milliseconds more or less.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let started = cpu_s();
    let value = black_box(work());
    (value, cpu_s() - started)
}

/// Memory of this process in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = pages
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    pages * 4096
}

fn measure(nodes: usize, folds: bool) -> serde_json::Value {
    let (sweep, import) = sweep_of(nodes);
    let before = resident();
    let mut observed = Observed::for_planning();
    observed.record(import.clone());
    let (mut graph, make_s) = timed(|| Graph::new(&sweep, &observed));
    let counts = graph.counts();
    let planned = counts.done + counts.ready + counts.waiting;
    let idle = resident().saturating_sub(before);

    // Every job succeeds, one event each.
    let mut events: Vec<f32> = Vec::with_capacity(nodes);
    loop {
        let fresh = graph.take_fresh();
        if fresh.is_empty() {
            break;
        }
        for key in fresh {
            let Some(job) = graph.job(&key, &observed) else {
                continue;
            };
            observed.record(perform(&job, &observed));
            let started = Instant::now();
            graph.update(&sweep, &observed, &key);
            events.push(started.elapsed().as_secs_f32() * 1e3);
        }
    }
    assert!(graph.complete(), "{:?}", graph.counts());
    let memory = resident().saturating_sub(before);
    events.sort_unstable_by(f32::total_cmp);
    let event = |share: f64| f64::from(events[((events.len() - 1) as f64 * share) as usize]);
    let mut found = json!({
        "nodes": planned,
        "make_s": make_s,
        "event_median_ms": event(0.5),
        "event_99_ms": event(0.99),
        "event_max_ms": event(1.0),
        "idle_bytes_per_node": idle as f64 / planned as f64,
        "bytes_per_node": memory as f64 / planned as f64,
    });
    drop((graph, observed));
    if folds {
        let observed = all_done(&sweep, import);
        found["plan_s"] = timed(|| plan(&sweep, &observed)).1.into();
        found["fold_s"] = timed(|| fold(&sweep, &observed)).1.into();
    }
    found
}

/// Every job of the sweep with its whole manifest, as a fold reads them.
fn all_done(sweep: &Sweep, import: cedm_contract::Manifest) -> Observed {
    let mut observed = Observed::default();
    observed.record(import);
    let mut graph = Graph::new(sweep, &observed);
    loop {
        let fresh = graph.take_fresh();
        if fresh.is_empty() {
            return observed;
        }
        for key in fresh {
            let Some(job) = graph.job(&key, &observed) else {
                continue;
            };
            observed.record(perform(&job, &observed));
            graph.update(sweep, &observed, &key);
        }
    }
}

//! Sets of more shards than one message can name.

use super::{all, never, run};
use crate::{
    State,
    fixtures::{TOML, image_set_of, sweep, sweep_on},
    plan,
};
use cedm_contract::{Job, Kind, ListedKind, MAX_MESSAGE_BYTES, kinds::reference::ReferenceParams};
use std::collections::BTreeMap;

/// 1,300 shards: every job of the sweep fits into a message, and the sweep is completed.
#[test]
fn a_set_of_thousands_of_shards_is_merged_in_parts() {
    let (sweep, mut observed) = sweep_on(image_set_of(1_300), "large", TOML);
    run(&sweep, &mut observed, all, never);
    let plan = plan(&sweep, &observed);
    assert!(
        plan.complete(),
        "{:?}",
        plan.nodes
            .iter()
            .find(|node| !matches!(node.state, State::Done { .. }))
    );
    let mut largest = 0;
    let mut merges: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
    for job in plan.nodes.iter().filter_map(|node| node.job.as_ref()) {
        // The report is written by the coordinator and travels in no message.
        if job.kind().is_queued() {
            largest = largest.max(job.encode().unwrap().len());
        }
        if matches!(job.kind(), Kind::Features | Kind::Reference) {
            merges.entry(job.kind()).or_default().push(job.inputs.len());
        }
    }
    assert!(largest <= MAX_MESSAGE_BYTES, "{largest} bytes");
    assert_eq!(merges[&Kind::Features], [400, 400, 400, 100, 4]);
    // Every shard is in one part, and the parts are in the order of the set.
    let parts = plan
        .nodes
        .iter()
        .filter(|node| node.kind == Kind::Reference);
    let params = |job: &Job| ReferenceParams::in_spec(&job.spec).unwrap().part;
    let whole = parts.filter(|node| node.job.as_ref().is_some_and(|job| !params(job)));
    assert!(whole.count() >= 1);
}

/// 100,000 shards are planned, in parts of parts.
#[test]
fn a_hundred_thousand_shards_are_planned() {
    let toml = TOML.replace(
        "metrics = [\"fd\", \"ufd\", \"precision\"]",
        "metrics = [\"fd\"]",
    );
    let (sweep, observed) = sweep_on(image_set_of(100_000), "huge", &toml);
    let plan = plan(&sweep, &observed);
    let parts = plan
        .nodes
        .iter()
        .filter(|node| node.kind == Kind::Features)
        .count();
    assert_eq!(parts, 250 + 1);
}

/// Sets that fit into one message are merged as they always were.
#[test]
fn small_sets_have_one_merge() {
    let (sweep, mut observed) = sweep("small", TOML);
    run(&sweep, &mut observed, all, never);
    let plan = plan(&sweep, &observed);
    let merges = plan.nodes.iter().filter(|node| node.kind == Kind::Features);
    assert_eq!(merges.count(), 1);
    let json = serde_json::to_string(
        &plan
            .nodes
            .iter()
            .filter_map(|n| n.job.as_ref())
            .collect::<Vec<_>>(),
    )
    .unwrap();
    assert!(
        !json.contains("\"part\":false"),
        "an absent part is not written"
    );
}

//! The jobs of a sweep in the order of the pipeline: images → features → clusters ⇄ bound →
//! networks → samples → scores → report.

mod bound;
mod clusters;
mod features;
mod merge;
mod networks;
mod scores;

use crate::{
    Node, State, Work,
    builder::{Dependency, NodeDraft, PlanBuilder},
};
use cedm_contract::{
    JobKey, Kind,
    kinds::{
        import::{ImageSet, ImportParams},
        report::{ReportInputs, ReportParams},
    },
};
use cedm_sweep::{ClusteringSpec, Reads};

pub(crate) use bound::lower_bound_clusters;

/// An image set that is imported.
#[derive(Clone, Copy)]
pub(crate) struct Images<'k> {
    pub(crate) dependency: Dependency<'k>,
    pub(crate) set: &'k ImageSet,
}

/// Adds every node of the sweep.
pub(crate) fn build(b: &mut PlanBuilder<'_>) {
    let sweep = b.sweep;
    let name = &sweep.spec.image_set;
    let Some(images) = import(b, name, &sweep.images) else {
        return;
    };
    let test = sweep.test_images.as_ref().and_then(|key| {
        import(
            b,
            sweep.spec.test_set.as_deref().unwrap_or("test split"),
            key,
        )
    });
    let context = PlanContext { images, test };
    let reads_features = |spec: &ClusteringSpec| spec.method.reads() != Reads::Images;
    if sweep.spec.clusterings.iter().any(reads_features) {
        features::evaluation(b, images, &sweep.spec.extractor);
    }
    for clustering in &sweep.spec.clusterings {
        for cell in clusters::cells(b, context, clustering) {
            networks::network(b, context, &cell);
        }
    }
    report(b);
}

/// What every part of the plan reads.
#[derive(Clone, Copy)]
pub(crate) struct PlanContext<'k> {
    pub(crate) images: Images<'k>,
    pub(crate) test: Option<Images<'k>>,
}

fn import<'k>(b: &mut PlanBuilder<'k>, name: &str, key: &JobKey) -> Option<Images<'k>> {
    let missing = format!("the image set `{name}` ({key}) is not in the store: import it again");
    let dependency = b.add_import(format!("import {name}"), key, missing);
    let (_, set) = dependency.done()?.as_kind::<ImportParams>().ok()?;
    Some(Images { dependency, set })
}

/// Kinds of job that the report is made from.
const SHOWN: [Kind; 7] = [
    Kind::Import,
    Kind::FeatureEvaluation,
    Kind::Cluster,
    Kind::Bound,
    Kind::Train,
    Kind::SampleSet,
    Kind::Score,
];

/// Whether it lists a part of a sample set: it has no number among the sets of the sweep.
fn is_part_of_set(node: &Node) -> bool {
    let is_numbered = node.cell.as_ref().is_some_and(|cell| cell.set.is_some());
    node.kind == Kind::SampleSet && !is_numbered
}

/// The report waits for every node that can still change; then its inputs are the results that it
/// shows.
fn report(b: &mut PlanBuilder<'_>) {
    let sweep = b.sweep.id.clone();
    let settled = b.nodes().iter().all(|node| node.state.is_settled());
    let is_read = |node: &&Node| {
        if settled {
            let is_shown = SHOWN.contains(&node.kind) && !is_part_of_set(node);
            is_shown && matches!(node.state, State::Done { .. })
        } else {
            !node.state.is_settled()
        }
    };
    let results = b
        .nodes()
        .iter()
        .filter(is_read)
        .filter_map(|node| Some((node.id.clone(), b.existing(&node.id)?)))
        .collect();
    b.add(
        NodeDraft::new(format!("report {sweep}"), Work::one()),
        ReportInputs { results },
        || Ok(ReportParams { sweep }),
    );
}

/// What a person calls a network: "temi C=20", "unconditional".
pub(crate) fn cell_label(clustering: &ClusteringSpec, clusters: Option<u32>) -> String {
    match clusters {
        Some(c) => format!("{} C={c}", clustering.name),
        None if clustering.name == "none" => "unconditional".to_owned(),
        None => clustering.name.clone(),
    }
}

/// Thousand images, as short as possible: "29", "5.12".
pub(crate) fn kimg(images: u64) -> String {
    let text = format!("{:.3}", images as f64 / 1000.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

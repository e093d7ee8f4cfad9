//! The walk of a batch, as nodes: images → features → clusters ⇄ bound → networks → samples →
//! scores → report.

mod clusters;
mod features;
mod networks;
mod scores;

use crate::{
    State, Work,
    builder::{Builder, Dep, Draft},
};
use cedm_contract::{ImageSet, JobResult, JobSpec, Kind, params::ReportParams};
use cedm_sweep::{ClusteringSpec, Method};

pub(crate) use clusters::lower_bound_clusters;

/// The image sets, once known.
#[derive(Clone, Copy)]
pub(crate) struct Images<'k> {
    pub(crate) dep: Dep<'k>,
    pub(crate) set: &'k ImageSet,
}

/// Adds every node of the sweep.
pub(crate) fn build(b: &mut Builder<'_>) {
    let sweep = b.sweep;
    let name = &sweep.spec.image_set;
    let Some(images) = given(b, name, &sweep.images) else {
        return;
    };
    let test = sweep.test_images.as_ref().and_then(|key| {
        given(
            b,
            sweep.spec.test_set.as_deref().unwrap_or("test split"),
            key,
        )
    });
    let context = PlanContext { images, test };
    let clusters_features = |method: &Method| matches!(method, Method::Temi(_) | Method::Kmeans(_));
    if sweep
        .spec
        .clusterings
        .iter()
        .any(|clustering| clusters_features(&clustering.method))
    {
        features::judged(b, images, &sweep.spec.extractor);
    }
    for clustering in &sweep.spec.clusterings {
        for cell in clusters::cells(b, context, clustering) {
            networks::network(b, context, &cell);
        }
    }
    report(b);
}

/// What every part of the walk knows.
#[derive(Clone, Copy)]
pub(crate) struct PlanContext<'k> {
    pub(crate) images: Images<'k>,
    pub(crate) test: Option<Images<'k>>,
}

fn given<'k>(b: &mut Builder<'k>, name: &str, key: &cedm_contract::JobKey) -> Option<Images<'k>> {
    let missing = format!("the image set `{name}` ({key}) is not in the store: import it again");
    let dep = b.given(format!("import {name}"), key, missing);
    match &dep.done()?.result {
        JobResult::Import(set) => Some(Images { dep, set }),
        _ => None,
    }
}

/// The report waits until nothing else moves; its inputs are everything it is made from.
fn report(b: &mut Builder<'_>) {
    let sweep = b.sweep.id.clone();
    let settled = b.nodes().iter().all(|node| node.state.is_settled());
    let made_from = |kind: Kind| {
        matches!(
            kind,
            Kind::Import
                | Kind::FeatureEvaluation
                | Kind::Cluster
                | Kind::Bound
                | Kind::Train
                | Kind::SampleSet
                | Kind::Score
        )
    };
    let mut draft = Draft::new(format!("report {sweep}"), Kind::Report, Work::one());
    let ids: Vec<String> = b
        .nodes()
        .iter()
        .filter(|node| {
            if settled {
                made_from(node.kind) && matches!(node.state, State::Done { .. })
            } else {
                !node.state.is_settled()
            }
        })
        .map(|node| node.id.clone())
        .collect();
    for id in ids {
        if let Some(dep) = b.existing(&id) {
            draft = draft.reads(id, dep);
        }
    }
    b.add(draft, || Ok(JobSpec::Report(ReportParams { sweep })));
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

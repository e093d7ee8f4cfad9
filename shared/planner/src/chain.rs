//! The jobs of a sweep in the order of the pipeline: images → features → clusters ⇄ bound →
//! networks → samples → scores → report.

mod bound;
mod clusters;
mod features;
mod merge;
mod networks;
mod scores;

use crate::builder::{Dependency, PlanBuilder};
use cedm_contract::{
    JobKey,
    kinds::import::{ImageSet, ImportParams},
};
use cedm_sweep::{ClusteringSpec, Reads};

pub(crate) use bound::lower_bound_clusters;

/// An image set that is imported.
#[derive(Clone, Copy)]
pub(crate) struct Images<'k> {
    pub(crate) dependency: Dependency,
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
            for seed in sweep.spec.training.seeds() {
                networks::network(b, context, &cell.trained_with(*seed, &sweep.spec.training));
            }
        }
    }
    b.add_report();
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
    let (_, set) = b.manifest(dependency)?.as_kind::<ImportParams>().ok()?;
    Some(Images { dependency, set })
}

/// What a person calls a network: "temi C=20", "unconditional".
pub(crate) fn cell_label(clustering: &ClusteringSpec, clusters: Option<u32>) -> String {
    match clusters {
        Some(c) => format!("{} C={c}", clustering.name),
        None if clustering.name == "none" => "unconditional".to_owned(),
        None => clustering.name.clone(),
    }
}

/// The name of one training of a network: "temi C=20 seed 1" where there are several.
pub(crate) fn network_label(condition: &str, seed: Option<u64>) -> String {
    match seed {
        Some(seed) => format!("{condition} seed {seed}"),
        None => condition.to_owned(),
    }
}

/// Thousand images, as short as possible: "29", "5.12".
pub(crate) fn kimg(images: u64) -> String {
    let text = format!("{:.3}", images as f64 / 1000.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

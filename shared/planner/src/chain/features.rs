//! Features: fitted where needed, extracted by shard, merged; and their neighbours.

use super::{Images, merge};
use crate::{
    Work,
    builder::{Dependency, NodeDraft, PlanBuilder},
    message,
};
use cedm_catalogue::extractors::extractor;
use cedm_contract::{
    ExtractorSpec,
    kinds::{
        adapt::{AdaptInputs, AdaptParams},
        extract::{ExtractInputs, ExtractParams},
        feature_evaluation::{FeatureEvaluationInputs, FeatureEvaluationParams},
        features::{FeaturesInputs, FeaturesParams},
        fit::{FitInputs, FitParams},
        neighbours::{NeighbourPart, NeighboursInputs, NeighboursParams},
    },
};
use cedm_sweep::ExtractorChoice;

/// "pca-32": the extractor with whatever distinguishes it from others of its name.
pub(super) fn label(choice: &ExtractorChoice) -> String {
    let mut label = choice.name.clone();
    if let Some(dim) = choice.dim {
        label += &format!("-{dim}");
    }
    if choice.precision != Default::default() {
        label += &format!("-{:?}", choice.precision).to_lowercase();
    }
    if choice.adapt.is_some() {
        label += "-adapted";
    }
    if let Some(object) = choice
        .weights
        .as_ref()
        .and_then(|file| file.object.as_ref())
    {
        label += &format!("@{}", &object.digest.as_str()[..6]);
    }
    label
}

/// The extractor as a job parameter.
///
/// # Errors
/// Why it cannot run: its weights are not stored.
pub(super) fn spec(choice: &ExtractorChoice) -> Result<ExtractorSpec, String> {
    choice.spec().ok_or_else(|| {
        let path = choice
            .weights
            .as_ref()
            .map_or("", |file| file.path.as_str());
        format!(
            "the weights `{path}` of `{}` are not in the store: submit the sweep again",
            choice.name
        )
    })
}

/// What a fitted extractor learns from the training images; `None` for extractors that need no fit.
pub(super) fn fit<'k>(
    b: &mut PlanBuilder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
) -> Option<Dependency> {
    extractor(&choice.name).filter(|known| known.fitted)?;
    let draft = NodeDraft::new(
        format!("fit {}", label(choice)),
        Work::images(images.set.count),
    );
    let inputs = FitInputs {
        images: images.dependency,
    };
    Some(b.add(draft, inputs, || {
        Ok(FitParams {
            extractor: spec(choice)?,
        })
    }))
}

/// The backbone adapted to the training images; `None` where it is used as it is.
fn adapted<'k>(
    b: &mut PlanBuilder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
) -> Option<Dependency> {
    let training = choice.adapt.as_ref()?;
    let draft = NodeDraft::new(
        format!("adapt {}", label(choice)),
        Work::epochs(training.epochs),
    );
    let inputs = AdaptInputs {
        images: images.dependency,
    };
    Some(b.add(draft, inputs, || {
        Ok(AdaptParams {
            extractor: spec(choice)?,
            training: training.clone(),
        })
    }))
}

/// The extractor of extract jobs: an adapted one reads its weights from its Adapt job.
fn extracting(choice: &ExtractorChoice) -> Result<ExtractorSpec, String> {
    let spec = spec(choice)?;
    Ok(match choice.adapt {
        Some(_) => ExtractorSpec {
            weights: None,
            ..spec
        },
        None => spec,
    })
}

/// All features of the training images.
pub(super) fn features<'k>(
    b: &mut PlanBuilder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
) -> Dependency {
    let id = format!("features {}", label(choice));
    if let Some(dependency) = b.existing(&id) {
        return dependency;
    }
    let (fit, adapted) = (fit(b, images, choice), adapted(b, images, choice));
    let mut shards = Vec::new();
    for (index, shard) in (0u32..).zip(&images.set.shards) {
        let draft = NodeDraft::new(
            format!("extract {} shard {index}", label(choice)),
            Work::images(shard.count),
        );
        let inputs = ExtractInputs {
            images: images.dependency,
            fit,
            adapted,
        };
        shards.push(b.add(draft, inputs, || {
            Ok(ExtractParams {
                extractor: extracting(choice)?,
                shard: index,
            })
        }));
    }
    let params = FeaturesParams {
        shards: shards.len() as u32,
        partial: false,
    };
    let capacity = message::capacity(b, &id, params.into(), "shard", &[]);
    let shards = merge::inputs(shards, capacity, |part| {
        merged(b, format!("{id} {}", part.name), part.inputs, true)
    });
    merged(b, id, shards, false)
}

/// A merge of feature shards, or of parts.
fn merged<'k>(
    b: &mut PlanBuilder<'k>,
    id: String,
    shards: Vec<Dependency>,
    partial: bool,
) -> Dependency {
    let params = FeaturesParams {
        shards: shards.len() as u32,
        partial,
    };
    b.add(
        NodeDraft::new(id, Work::one()),
        FeaturesInputs { shards },
        || Ok(params),
    )
}

/// The k nearest neighbours of every training image: one job, or parts that any number of
/// clusterers can run at once, and their merge.
pub(super) fn neighbours<'k>(
    b: &mut PlanBuilder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
    k: u32,
) -> Dependency {
    let id = format!("neighbours {} k={k}", label(choice));
    if let Some(dependency) = b.existing(&id) {
        return dependency;
    }
    let features = features(b, images, choice);
    let count = images.set.count;
    let of = b.sweep.spec.neighbours.parts(count);
    // the merge compares no rows
    let work = Work::images(if of == 1 { count } else { 0 });
    let mut parts = Vec::new();
    for index in (0..of).filter(|_| of > 1) {
        let draft = NodeDraft::new(
            format!("{id} part {index}"),
            Work::images(count / u64::from(of)),
        );
        let inputs = NeighboursInputs {
            features,
            parts: Vec::new(),
        };
        parts.push(b.add(draft, inputs, || {
            let part = Some(NeighbourPart { index, of });
            Ok(NeighboursParams { k, part })
        }));
    }
    b.add(
        NodeDraft::new(id, work),
        NeighboursInputs { features, parts },
        || Ok(NeighboursParams { k, part: None }),
    )
}

/// How well the features tell the labels apart, for the report; `None` without labels.
pub(super) fn evaluation<'k>(
    b: &mut PlanBuilder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
) -> Option<Dependency> {
    if images.set.classes < 2 {
        return None;
    }
    let features = features(b, images, choice);
    let draft = NodeDraft::new(
        format!("judge {}", label(choice)),
        Work::images(images.set.count),
    );
    let inputs = FeatureEvaluationInputs {
        features,
        images: images.dependency,
    };
    Some(b.add(draft, inputs, || Ok(FeatureEvaluationParams::default())))
}

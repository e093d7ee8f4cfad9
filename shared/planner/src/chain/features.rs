//! Features: fitted where needed, extracted by shard, merged; and their neighbours.

use super::Images;
use crate::{
    Work,
    builder::{Builder, Dep, Draft},
};
use cedm_catalogue::extractors::extractor;
use cedm_contract::{
    JobSpec, Kind,
    params::{
        AdaptParams, ExtractParams, ExtractorSpec, FeatureEvaluationParams, FeaturesParams,
        FitParams, NeighbourPart, NeighboursParams,
    },
};
use cedm_sweep::ExtractorChoice;

/// "pca-32": the extractor with what tells it from others of its name.
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

/// Why the extractor cannot run.
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

/// What a fitted extractor learns from the training images; `None` for the others.
pub(super) fn fit<'k>(
    b: &mut Builder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
) -> Option<Dep<'k>> {
    extractor(&choice.name).filter(|known| known.fitted)?;
    let draft = Draft::new(
        format!("fit {}", label(choice)),
        Kind::Fit,
        Work::images(images.set.count),
    )
    .reads("images", images.dep);
    Some(b.add(draft, || {
        Ok(JobSpec::Fit(FitParams {
            extractor: spec(choice)?,
        }))
    }))
}

/// The backbone adapted to the training images; `None` where it stays as it is.
fn adapted<'k>(
    b: &mut Builder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
) -> Option<Dep<'k>> {
    let training = choice.adapt.as_ref()?;
    let draft = Draft::new(
        format!("adapt {}", label(choice)),
        Kind::Adapt,
        Work::epochs(training.epochs),
    )
    .reads("images", images.dep);
    Some(b.add(draft, || {
        Ok(JobSpec::Adapt(AdaptParams {
            extractor: spec(choice)?,
            training: training.clone(),
        }))
    }))
}

/// The extractor of the jobs that extract: an adapted one reads its weights from the job that made
/// them.
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
    b: &mut Builder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
) -> Dep<'k> {
    let id = format!("features {}", label(choice));
    if let Some(dep) = b.existing(&id) {
        return dep;
    }
    let (fit, adapted) = (fit(b, images, choice), adapted(b, images, choice));
    let mut shards = Vec::new();
    for (index, shard) in (0u32..).zip(&images.set.shards) {
        let draft = Draft::new(
            format!("extract {} shard {index}", label(choice)),
            Kind::Extract,
            Work::images(shard.count),
        )
        .reads("images", images.dep)
        .maybe("fit", fit)
        .maybe("adapted", adapted);
        shards.push(b.add(draft, || {
            Ok(JobSpec::Extract(ExtractParams {
                extractor: extracting(choice)?,
                shard: index,
            }))
        }));
    }
    let count = shards.len() as u32;
    b.add(
        Draft::new(id, Kind::Features, Work::one()).shards(shards),
        || Ok(JobSpec::Features(FeaturesParams { shards: count })),
    )
}

/// The k nearest neighbours of every training image: one job, or parts that any number of
/// clusterers share and their merge.
pub(super) fn neighbours<'k>(
    b: &mut Builder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
    k: u32,
) -> Dep<'k> {
    let id = format!("neighbours {} k={k}", label(choice));
    if let Some(dep) = b.existing(&id) {
        return dep;
    }
    let features = features(b, images, choice);
    let count = images.set.count;
    let of = b.sweep.spec.neighbours.parts(count);
    // the merge compares no rows
    let work = Work::images(if of == 1 { count } else { 0 });
    let mut whole = Draft::new(id.clone(), Kind::Neighbours, work).reads("features", features);
    for index in (0..of).filter(|_| of > 1) {
        let draft = Draft::new(
            format!("{id} part {index}"),
            Kind::Neighbours,
            Work::images(count / u64::from(of)),
        );
        let part = b.add(draft.reads("features", features), || {
            let part = Some(NeighbourPart { index, of });
            Ok(JobSpec::Neighbours(NeighboursParams { k, part }))
        });
        whole = whole.reads(format!("part/{index:05}"), part);
    }
    b.add(whole, || {
        Ok(JobSpec::Neighbours(NeighboursParams { k, part: None }))
    })
}

/// How well the features tell the labels apart, for the report; `None` without labels.
pub(super) fn judged<'k>(
    b: &mut Builder<'k>,
    images: Images<'k>,
    choice: &ExtractorChoice,
) -> Option<Dep<'k>> {
    if images.set.classes < 2 {
        return None;
    }
    let features = features(b, images, choice);
    let draft = Draft::new(
        format!("judge {}", label(choice)),
        Kind::FeatureEvaluation,
        Work::images(images.set.count),
    )
    .reads("features", features)
    .reads("images", images.dep);
    Some(b.add(draft, || {
        Ok(JobSpec::FeatureEvaluation(
            FeatureEvaluationParams::default(),
        ))
    }))
}

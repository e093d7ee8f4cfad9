//! Reasons why a sweep cannot run on its image set; they only show once the images are known.

use cedm_contract::kinds::import::ImageSet;

use cedm_catalogue::extractors::extractor;
use cedm_sweep::{Clusters, ExtractorChoice, Reads, SweepSpec};

/// Why this sweep cannot run on this image set and its test split, where that is known; empty when
/// it can. Checked at submission.
pub fn obstacles(spec: &SweepSpec, images: &ImageSet, test: Option<&ImageSet>) -> Vec<String> {
    let mut found: Vec<String> = network_obstacle(spec, images).into_iter().collect();
    found.extend(test.and_then(|test| shape_obstacle(test, images)));
    let spaces = spec.evaluations.iter();
    let spaces = spaces.map(|evaluation| (evaluation.name.as_str(), &evaluation.extractor));
    for (name, extractor) in std::iter::once(("extractor", &spec.extractor)).chain(spaces) {
        found.extend(width_obstacle(name, extractor, images));
    }
    for clustering in &spec.clusterings {
        let name = &clustering.name;
        if let Some(coarse) = clustering.method.needs_labels()
            && let Some(reason) = label_obstacle(spec, images, coarse)
        {
            found.push(format!("clustering `{name}`: {reason}"));
        }
        if let Clusters::List(list) = &clustering.clusters
            && let Some(largest) = list.last().filter(|c| u64::from(**c) > images.count)
        {
            found.push(format!(
                "clustering `{name}`: C = {largest} is more than the {} images of `{}`",
                images.count, spec.image_set
            ));
        }
        if let Reads::Neighbours(neighbours) = clustering.method.reads()
            && u64::from(neighbours) >= images.count
        {
            found.push(format!(
                "clustering `{name}`: {neighbours} neighbours of each of {} images: expected fewer",
                images.count
            ));
        }
        if let Some(batch) = clustering.method.batch()
            && u64::from(batch) > images.count
        {
            found.push(format!(
                "clustering `{name}`: a batch of {batch} is more than the {} images of `{}`: set a \
                 smaller `{}.batch`",
                images.count,
                spec.image_set,
                clustering.method.name()
            ));
        }
    }
    if let Some(largest) = spec
        .bound
        .lower_bound_clusters
        .iter()
        .max()
        .filter(|c| u64::from(**c) > images.count)
    {
        found.push(format!(
            "bound.lower_bound_clusters: C = {largest} is more than the {} images of `{}`",
            images.count, spec.image_set
        ));
    }
    found
}

/// Why a feature space has no such width: principal components of pixels are at most as many as the
/// pixels.
fn width_obstacle(name: &str, choice: &ExtractorChoice, images: &ImageSet) -> Option<String> {
    let fitted = extractor(&choice.name).is_some_and(|known| known.fitted && known.chooses_dim);
    let side = u64::from(images.resolution);
    let values = side * side * u64::from(images.channels);
    let dim = choice
        .dim
        .filter(|dim| fitted && u64::from(*dim) > values)?;
    Some(format!(
        "`{name}`: {dim} components of `{}` are more than the {values} values of an image of \
         {side}×{side} with {} channels",
        choice.name, images.channels
    ))
}

/// Why images of one shape cannot be held against those of another: extractors that resize would
/// hide it.
pub(crate) fn shape_obstacle(test: &ImageSet, training: &ImageSet) -> Option<String> {
    let shape = |set: &ImageSet| format!("{0}×{0} with {1} channels", set.resolution, set.channels);
    let (found, expected) = (shape(test), shape(training));
    (found != expected).then(|| {
        format!(
            "the test images are {found}, the training images \
             {expected}: bring them to one shape first"
        )
    })
}

/// Why the network does not fit the images.
pub(crate) fn network_obstacle(spec: &SweepSpec, images: &ImageSet) -> Option<String> {
    let side = spec.training.network.resolution;
    (side != images.resolution).then(|| {
        format!(
            "preset `{}` is for {side}×{side}, the images of `{}` are {}×{}: choose another \
             preset, or set `training.network.resolution`",
            spec.training.preset, spec.image_set, images.resolution, images.resolution
        )
    })
}

/// Why labels cannot be the condition.
pub(crate) fn label_obstacle(spec: &SweepSpec, images: &ImageSet, coarse: bool) -> Option<String> {
    let (classes, what) = if coarse {
        (images.coarse_classes, "coarse labels")
    } else {
        (images.classes, "labels")
    };
    (classes == 0).then(|| format!("the images of `{}` have no {what}", spec.image_set))
}

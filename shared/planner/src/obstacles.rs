//! Reasons why a sweep cannot run on its image set; they only show once the images are known.

use cedm_contract::kinds::import::ImageSet;

use cedm_sweep::{Clusters, Reads, SweepSpec};

/// Why this sweep cannot run on this image set; empty when it can. Checked at submission.
pub fn obstacles(spec: &SweepSpec, images: &ImageSet) -> Vec<String> {
    let mut found: Vec<String> = network_obstacle(spec, images).into_iter().collect();
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

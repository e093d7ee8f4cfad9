//! Generated images in the order of their confidence.

use crate::{
    assignments::{Assignments, number_of_labels},
    context::{ReportContext, end, sampled},
};
use cedm_contract::kinds::score::confidence::LOG_CONFIDENCE;
use cedm_sweep::outcome::{CellOutcome, ClusteringOutcome, SamplesOutcome};
use std::collections::BTreeMap;

/// Images of one cluster in a ranking by clusters: all of them have the same confidence, and a few
/// of every cluster say more than many of one.
const MAX_PER_CLUSTER: usize = 8;

/// A sample set with its rows in the order of confidence.
pub struct Ranking<'a> {
    /// Rows of the sample set, least confident first.
    pub rows: Vec<usize>,
    /// Whether each image has its own confidence, or the mean of the real images of its cluster.
    pub by_image: bool,
    /// The sample set that the rows are of.
    pub samples: &'a SamplesOutcome,
}

/// Generated images by their own confidence where the evaluator wrote it, else by the mean
/// confidence of the real images of their cluster.
pub fn ranked<'a>(
    context: &ReportContext,
    cell: &'a CellOutcome,
    clustering: &ClusteringOutcome,
) -> Result<Ranking<'a>, String> {
    let (samples, by_image, scores) = match with_own_confidence(context, cell)? {
        Some((samples, own)) => (samples, true, own.into_iter().map(f64::from).collect()),
        None => {
            let (_, samples) = sampled(cell)?;
            let labels = context.artefacts.labels(&samples.result.shards)?;
            (samples, false, by_cluster(context, clustering, &labels)?)
        }
    };
    let mut rows: Vec<usize> = (0..scores.len()).collect();
    rows.retain(|row| scores[*row].is_finite());
    rows.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b)));
    if !by_image {
        let mut taken = BTreeMap::new();
        rows.retain(|row| {
            let count = taken.entry(scores[*row].to_bits()).or_insert(0);
            *count += 1;
            *count <= MAX_PER_CLUSTER
        });
    }
    if rows.is_empty() {
        return Err("no generated image has a finite confidence".to_owned());
    }
    Ok(Ranking {
        rows,
        by_image,
        samples,
    })
}

/// The first sample set whose images were passed through the TEMI head, with the log-confidence of
/// each.
fn with_own_confidence<'a>(
    context: &ReportContext,
    cell: &'a CellOutcome,
) -> Result<Option<(&'a SamplesOutcome, Vec<f32>)>, String> {
    for set in end(cell).map_or(&[][..], |snapshot| &snapshot.sets) {
        let mut scores = set.scores.values();
        let file = scores.find_map(|scores| scores.confidence.as_ref());
        let (Some(samples), Some(file)) = (&set.samples, file) else {
            continue;
        };
        let found = context.artefacts.floats(file, LOG_CONFIDENCE.name)?;
        let found = found.ok_or("the confidence file holds no `log_confidence`")?;
        let count = samples.result.count;
        if found.len() as u64 != count {
            return Err(format!("{} confidences for {count} images", found.len()));
        }
        return Ok(Some((samples, found)));
    }
    Ok(None)
}

/// For every label the mean log-confidence of the training images of its cluster; not a number
/// where a cluster is unknown.
fn by_cluster(
    context: &ReportContext,
    clustering: &ClusteringOutcome,
    labels: &[i64],
) -> Result<Vec<f64>, String> {
    let file = Assignments::of(context, clustering)?;
    let (ids, confidence) = (file.ids()?, file.confidence()?);
    let clusters = number_of_labels(&ids);
    let (mut sums, mut counts) = (vec![0.0; clusters], vec![0.0; clusters]);
    for (id, value) in ids.iter().zip(confidence) {
        if let Ok(id) = usize::try_from(*id) {
            sums[id] += f64::from(value);
            counts[id] += 1.0;
        }
    }
    let mean = |label: &i64| {
        let label = usize::try_from(*label)
            .ok()
            .filter(|label| *label < clusters);
        label.map_or(f64::NAN, |label| sums[label] / counts[label])
    };
    Ok(labels.iter().map(mean).collect())
}

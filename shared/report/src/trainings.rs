//! Networks of several trainings as one each: what charts against C and tables of methods show.

use cedm_sweep::outcome::{CellOutcome, Summary, SweepOutcome};
use std::collections::BTreeMap;

/// Every condition once, where the sweep trains with several seeds; `None` where it does not, and
/// the networks are what they are.
pub fn merged(outcome: &SweepOutcome) -> Option<Vec<CellOutcome>> {
    if !outcome.spec.training.has_several_seeds() {
        return None;
    }
    let mut merged: Vec<CellOutcome> = Vec::new();
    let mut members: Vec<Vec<&CellOutcome>> = Vec::new();
    for cell in &outcome.cells {
        let label = cell.granularity();
        match merged.iter().position(|one| one.label == label) {
            Some(at) => members[at].push(cell),
            None => {
                let mut first = cell.clone();
                first.label = label.to_owned();
                first.seed = None;
                merged.push(first);
                members.push(vec![cell]);
            }
        }
    }
    for (cell, members) in merged.iter_mut().zip(members) {
        if let Some(last) = cell.snapshots.iter_mut().find(|snapshot| snapshot.last) {
            last.summary = summaries(&members);
        }
    }
    Some(merged)
}

/// Over the trainings that have a score: the mean of their means, and the spread between them.
fn summaries(members: &[&CellOutcome]) -> BTreeMap<String, Summary> {
    let ends = members.iter().filter_map(|cell| crate::context::end(cell));
    let mut all: BTreeMap<String, Vec<&Summary>> = BTreeMap::new();
    for (score, summary) in ends.flat_map(|end| &end.summary) {
        all.entry(score.clone()).or_default().push(summary);
    }
    let merge = |(score, found): (String, Vec<&Summary>)| {
        let count = found.len() as f64;
        let mean = found.iter().map(|one| one.mean).sum::<f64>() / count;
        let squares = found.iter().map(|one| (one.mean - mean).powi(2));
        let std = (found.len() > 1).then(|| (squares.sum::<f64>() / (count - 1.0)).sqrt());
        let values = found.iter().flat_map(|one| one.values.iter().copied());
        let summary = Summary {
            mean,
            std,
            values: values.collect(),
            images: found[0].images,
            reference_images: found[0].reference_images,
        };
        (score, summary)
    };
    all.into_iter().map(merge).collect()
}

//! Mean and spread over sample sets.

use cedm_contract::kinds::score::ScoreResult;

use cedm_catalogue::metrics::{Against, metric};

use cedm_sweep::outcome::{SetOutcome, Summary};
use std::collections::BTreeMap;

/// By `<space>/<metric>`, over the sets that have a number.
pub(super) fn summarise(sets: &[SetOutcome]) -> BTreeMap<String, Summary> {
    let mut by_metric: BTreeMap<String, Summary> = BTreeMap::new();
    for set in sets {
        for (space, scores) in &set.scores {
            for (metric, score) in &scores.result.scores {
                let Some(value) = score.value else { continue };
                let summary = by_metric
                    .entry(format!("{space}/{metric}"))
                    .or_insert_with(|| Summary {
                        mean: 0.0,
                        std: None,
                        values: Vec::new(),
                        images: scores.result.count,
                        reference_images: held_against(metric, &scores.result),
                    });
                summary.values.push((set.index, value));
            }
        }
    }
    for summary in by_metric.values_mut() {
        let values: Vec<f64> = summary.values.iter().map(|(_, value)| *value).collect();
        (summary.mean, summary.std) = mean_and_std(&values);
    }
    by_metric
}

/// Images on the other side of a metric; 0 where there is none.
fn held_against(name: &str, result: &ScoreResult) -> u64 {
    match metric(name).map(|row| row.against) {
        // Both sets are made alike.
        Some(Against::Unconditional) => result.count,
        Some(Against::Nothing | Against::Heads | Against::Labels) => 0,
        Some(Against::Training | Against::TrainingAndTest) | None => result.reference_count,
    }
}

/// Mean, and the sample standard deviation where there is more than one value. `values` is not
/// empty.
pub(super) fn mean_and_std(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let std = (values.len() > 1).then(|| {
        (values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / (count - 1.0))
            .sqrt()
    });
    (mean, std)
}

#[cfg(test)]
mod tests {
    use super::mean_and_std;

    #[test]
    fn spread_needs_two_values() {
        assert_eq!(mean_and_std(&[3.0]), (3.0, None));
        assert_eq!(mean_and_std(&[1.0, 3.0]), (2.0, Some(2f64.sqrt())));
    }
}

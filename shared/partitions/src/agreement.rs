//! Mutual information and its adjusted forms, normalised by the arithmetic mean of the entropies as
//! scikit-learn does by default (Vinh et al. 2010).

use crate::{Contingency, PartitionError};

/// Agreement of two partitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Mutual information in nats.
    pub mi: f64,
    /// MI over the mean of both entropies.
    pub nmi: f64,
    /// (MI − E\[MI\]) / (mean entropy − E\[MI\]), expectation under the hypergeometric model.
    pub anmi: f64,
    /// Adjusted Rand index: 0 for random partitions, 1 for equal ones.
    pub ari: f64,
}

/// Agreement of `clusters` with `labels`, both one id per image.
///
/// # Errors
/// When the two differ in length or are empty.
pub fn agreement(labels: &[i64], clusters: &[i64]) -> Result<Agreement, PartitionError> {
    let table = Contingency::new(labels, clusters)?;
    let ari = adjusted_rand(&table);
    if table.labels.len() == 1 && table.clusters.len() == 1 {
        return Ok(Agreement {
            mi: 0.0,
            nmi: 1.0,
            anmi: 1.0,
            ari,
        });
    }
    let mean_entropy = (entropy(&table.labels) + entropy(&table.clusters)) / 2.0;
    if table.labels.len() == 1 || table.clusters.len() == 1 {
        return Ok(Agreement {
            mi: 0.0,
            nmi: 0.0,
            anmi: 0.0,
            ari,
        });
    }
    let mi = mutual_information(&table);
    let expected = expected_mutual_information(&table);
    // Two partitions into singletons have E[MI] = H: the quotient is 0/0 there, and both agree
    // fully.
    let largest_gain = mean_entropy - expected;
    let anmi = if largest_gain.abs() < f64::EPSILON {
        1.0
    } else {
        (mi - expected) / largest_gain
    };
    Ok(Agreement {
        mi,
        nmi: mi / mean_entropy,
        anmi,
        ari,
    })
}

/// Entropy in nats of a partition with these sizes; empty parts contribute 0.
pub fn entropy(sizes: &[u64]) -> f64 {
    let total = sizes.iter().sum::<u64>() as f64;
    -sizes
        .iter()
        .filter(|&&size| size > 0)
        .map(|&size| size as f64 / total)
        .map(|p| p * p.ln())
        .sum::<f64>()
}

fn mutual_information(table: &Contingency) -> f64 {
    let total = table.total as f64;
    let terms = table.cells.iter().map(|(&(i, j), &n)| {
        let n = n as f64;
        n / total * (n * total / (table.labels[i] as f64 * table.clusters[j] as f64)).ln()
    });
    // Rounding may leave independent partitions slightly below 0.
    terms.sum::<f64>().max(0.0)
}

/// E\[MI\] of two random partitions with the given sizes: each cell is hypergeometric.
///
/// The probabilities of a cell follow from their ratios, outward from the mode, and are divided by
/// their sum: no log-factorials of large numbers, whose rounding would show in the tenth digit.
/// Equal sizes share one computation.
fn expected_mutual_information(table: &Contingency) -> f64 {
    let (rows, columns) = (
        multiplicities(&table.labels),
        multiplicities(&table.clusters),
    );
    let mut sum = 0.0;
    for &(a, times_a) in &rows {
        for &(b, times_b) in &columns {
            sum += times_a * times_b * expected_cell(table.total, a, b);
        }
    }
    sum
}

/// Distinct sizes, ascending, with the number of times that each occurs.
fn multiplicities(sizes: &[u64]) -> Vec<(u64, f64)> {
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable();
    let mut found: Vec<(u64, f64)> = Vec::new();
    for size in sorted {
        match found.last_mut() {
            Some((last, times)) if *last == size => *times += 1.0,
            _ => found.push((size, 1.0)),
        }
    }
    found
}

/// E\[ n/N · ln(n N / (a b)) \] for n hypergeometric with margins a, b of N.
fn expected_cell(total: u64, a: u64, b: u64) -> f64 {
    let (n, fa, fb) = (total as f64, a as f64, b as f64);
    let low = (a + b).saturating_sub(total);
    let high = a.min(b);
    // The most likely cell value; clamped, since the division may round.
    let mode = (((fa + 1.0) * (fb + 1.0) / (n + 2.0)) as u64).clamp(low, high);
    // P(k + 1) / P(k).
    let up = |k: f64| (fa - k) * (fb - k) / ((k + 1.0) * (n - fa - fb + k + 1.0));
    let term = |k: u64| {
        if k == 0 {
            0.0
        } else {
            k as f64 / n * (k as f64 * n / (fa * fb)).ln()
        }
    };
    let (mut mass, mut value) = (1.0, term(mode));
    let (mut weight, mut k) = (1.0, mode);
    // Weights below 1e-30 of the mode cannot change a float64 sum.
    while k < high && weight > 1e-30 {
        weight *= up(k as f64);
        k += 1;
        mass += weight;
        value += weight * term(k);
    }
    (weight, k) = (1.0, mode);
    while k > low && weight > 1e-30 {
        k -= 1;
        weight /= up(k as f64);
        mass += weight;
        value += weight * term(k);
    }
    value / mass
}

/// Adjusted Rand index (Hubert and Arabie 1985), over pairs of images.
fn adjusted_rand(table: &Contingency) -> f64 {
    let pairs = |n: u64| n as f64 * (n as f64 - 1.0) / 2.0;
    let both = table.cells.values().map(|&n| pairs(n)).sum::<f64>();
    let rows = table.labels.iter().map(|&n| pairs(n)).sum::<f64>();
    let columns = table.clusters.iter().map(|&n| pairs(n)).sum::<f64>();
    let all = pairs(table.total);
    let expected = if all > 0.0 { rows * columns / all } else { 0.0 };
    let most = (rows + columns) / 2.0;
    if most == expected {
        1.0
    } else {
        (both - expected) / (most - expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_those_of_scikit_learn() {
        // golden.json, cluster_metrics
        let found = agreement(
            &[0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 0, 1],
            &[0, 0, 3, 1, 1, 4, 2, 2, 2, 5, 1, 1],
        )
        .unwrap();
        assert!((found.nmi - 0.6672179432306322).abs() < 1e-12, "{found:?}");
        assert!(
            (found.anmi - 0.44813587378457886).abs() < 1e-12,
            "{found:?}"
        );
        assert!((found.ari - 0.3790322580645161).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn a_single_cluster_agrees_with_nothing() {
        let found = agreement(&[0, 1, 2, 0], &[5, 5, 5, 5]).unwrap();
        assert_eq!((found.nmi, found.anmi, found.ari), (0.0, 0.0, 0.0));
    }

    #[test]
    fn lengths_must_agree() {
        let error = agreement(&[0, 1], &[0]).unwrap_err().to_string();
        assert!(
            error.contains("number of labels is 2") && error.contains("1 cluster ids"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn identical_partitions_agree_fully(ids in prop::collection::vec(0i64..5, 2..60)) {
            let renamed: Vec<i64> = ids.iter().map(|id| 100 - id * 7).collect();
            let found = agreement(&ids, &renamed).unwrap();
            prop_assert!((found.nmi - 1.0).abs() < 1e-12 && (found.anmi - 1.0).abs() < 1e-9 && (found.ari - 1.0).abs() < 1e-12);
        }

        #[test]
        fn agreement_is_symmetric(pairs in prop::collection::vec((0i64..4, 0i64..6), 2..80)) {
            let (a, b): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
            let (x, y) = (agreement(&a, &b).unwrap(), agreement(&b, &a).unwrap());
            prop_assert!((x.nmi - y.nmi).abs() < 1e-12 && (x.anmi - y.anmi).abs() < 1e-9 && (x.ari - y.ari).abs() < 1e-12);
        }

        #[test]
        fn expectation_equals_enumeration(total in 2u64..14, a in 1u64..14, b in 1u64..14) {
            prop_assume!(a <= total && b <= total);
            let choose = |n: u64, k: u64| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
            let low = (a + b).saturating_sub(total);
            let direct: f64 = (low.max(1)..=a.min(b)).map(|k| {
                let p = choose(a, k) * choose(total - a, b - k) / choose(total, b);
                p * k as f64 / total as f64 * (k as f64 * total as f64 / (a * b) as f64).ln()
            }).sum();
            prop_assert!((expected_cell(total, a, b) - direct).abs() < 1e-12);
        }
    }
}

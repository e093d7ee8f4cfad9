//! The studentised range: the distance of the largest of several means from the least.

use super::normal::{Chi, cdf, over_normal, solve};

/// Quantile of the studentised range of `count` means (Tukey 1953; the integral is that of
/// Copenhaver & Holland 1988, Journal of Statistical Computation and Simulation 30:1).
pub(super) fn quantile(level: f64, count: usize, chi: &Chi) -> f64 {
    if count < 2 {
        return 0.0;
    }
    let others = i32::try_from(count - 1).unwrap_or(i32::MAX);
    // z is the least of the means, the others lie within the range above it.
    let probability = |range: f64| {
        chi.mean(|q| {
            over_normal(|z| count as f64 * (cdf(z + range * q) - cdf(z)).max(0.0).powi(others))
        })
    };
    solve(probability, level)
}

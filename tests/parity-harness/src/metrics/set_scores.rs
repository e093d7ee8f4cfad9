//! Scores of one set alone: Inception Score, Vendi score, softmax confidence.

use super::{Case, Precision, comparison, count_differences, max_abs_difference, number, relative};
use crate::fixture::Comparison;
use cedm_maths::{
    Features, Order, Splits, confidence::confidence, inception_score, mean_softmax_score, vendi,
    vendi_polynomial,
};
use std::collections::BTreeMap;

/// Inception Score under both conventions.
pub(super) fn inception(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let splits = case.config["splits"]
        .as_i64()
        .ok_or_else(|| anyhow::anyhow!("metadata has no `splits`"))?;
    let order = case.integers("permutation")?;
    let mut comparisons = Vec::new();
    for (precision, tolerance) in [(Precision::Double, 1e-10), (Precision::Single, 1e-7)] {
        let logits = case.features("logits", precision)?;
        let name = precision.name();
        let dropped = if precision == Precision::Double {
            "dgm_eval_on_fp64_softmax"
        } else {
            "dgm_eval_on_fp32_softmax"
        };
        for (key, rule, permutation) in [
            ("shuffled", Splits::Proportional, Some(&order[..])),
            ("unshuffled", Splits::Proportional, None),
            (dropped, Splits::DropRemainder, Some(&order[..])),
        ] {
            let found = inception_score(&logits, splits, rule, permutation)?;
            let error = relative(found.mean, case.number(&["values", key, "mean"])?)
                .max(relative(found.std, case.number(&["values", key, "std"])?));
            comparisons.push(comparison(
                format!("{key} mean and std, {name} relative"),
                error,
                tolerance,
            ));
        }
        let single = inception_score(&logits, 1, Splits::Proportional, Some(&order))?;
        comparisons.push(comparison(
            format!("single split, {name} relative"),
            relative(single.mean, case.number(&["values", "single_split"])?),
            tolerance,
        ));
    }
    Ok(comparisons)
}

/// Vendi scores of all orders, per class, and under the polynomial kernel.
pub(super) fn vendi_score(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    let labels = case.integers("labels")?;
    let mut rows: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (row, &label) in labels.iter().enumerate() {
        rows.entry(label).or_default().push(row as i64);
    }
    for (precision, tolerance) in [(Precision::Double, 1e-9), (Precision::Single, 1e-4)] {
        let features = case.features("features", precision)?;
        let mut check = |what: &str, found: f64, key: &str| -> anyhow::Result<()> {
            comparisons.push(comparison(
                format!("{what}, {} relative", precision.name()),
                relative(found, case.number(&["values", key])?),
                tolerance,
            ));
            Ok(())
        };
        check("order 1", vendi(&features, Order::One)?, "full_fp64")?;
        check("order 2", vendi(&features, Order::Two)?, "q2_fp64")?;
        check(
            "order infinity",
            vendi(&features, Order::Infinity)?,
            "qinf_fp64",
        )?;
        check(
            "polynomial kernel",
            vendi_polynomial(&features)?,
            "poly_fp64",
        )?;
        let classes = rows
            .values()
            .map(|rows| Ok(vendi(&features.select(rows)?, Order::One)?))
            .collect::<anyhow::Result<Vec<f64>>>()?;
        check(
            "mean over classes",
            classes.iter().sum::<f64>() / classes.len() as f64,
            "per_class_mean_fp64",
        )?;
        let expected = case.floats("per_class_f64")?;
        anyhow::ensure!(
            expected.len() == classes.len(),
            "{} classes in the labels, {} expected",
            classes.len(),
            expected.len()
        );
        let error = classes
            .iter()
            .zip(&expected)
            .map(|(found, expected)| relative(*found, *expected))
            .fold(0.0, f64::max);
        comparisons.push(comparison(
            format!("each class, {} relative", precision.name()),
            error,
            tolerance,
        ));
    }
    Ok(comparisons)
}

/// Confidence and ranking of logits at each temperature.
pub(super) fn softmax_confidence(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    let mut names: Vec<&str> = case
        .tensors
        .keys()
        .filter_map(|name| name.strip_suffix(".confidence_f64"))
        .collect();
    names.sort_unstable();
    anyhow::ensure!(!names.is_empty(), "no tensor ends in `.confidence_f64`");
    for name in names {
        let temperature: f64 = name.trim_start_matches('T').parse()?;
        let logits = case.tensor("logits")?;
        let found = confidence(logits, temperature);
        let probability: Vec<f64> = Vec::try_from(&found.probability())?;
        let expected = case.floats(&format!("{name}.confidence_f64"))?;
        comparisons.push(comparison(
            format!("{name} confidence, f64"),
            max_abs_difference(&probability, &expected),
            1e-12,
        ));
        let single = Features::new("logits", &(logits / temperature))?.single();
        let values = &case.config["values"][name];
        let mean = mean_softmax_score(&single).mean;
        comparisons.push(comparison(
            format!("{name} mean confidence, f32"),
            (mean - number(values, &["mean_confidence"])?).abs(),
            2e-6,
        ));
        let cluster: Vec<i64> = Vec::try_from(&found.cluster)?;
        comparisons.push(comparison(
            format!("{name} cluster"),
            count_differences(&cluster, &case.integers(&format!("{name}.cluster"))?),
            0.0,
        ));
        comparisons.push(comparison(
            format!("{name} order"),
            count_misranked(
                &found.descending(),
                &case.integers(&format!("{name}.order_desc"))?,
                &expected,
            ),
            0.0,
        ));
        let mut sorted = probability.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let tenth = sorted.len() / 10;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let summary = max_abs_difference(
            &[
                mean(&sorted),
                mean(&sorted[..tenth]),
                mean(&sorted[sorted.len() - tenth..]),
            ],
            &[
                number(values, &["mean_confidence"])?,
                number(values, &["top10pct_mean"])?,
                number(values, &["bottom10pct_mean"])?,
            ],
        );
        comparisons.push(comparison(
            format!("{name} mean, top and bottom tenth"),
            summary,
            1e-12,
        ));
    }
    Ok(comparisons)
}

/// Number of positions at which two rankings have rows of different confidence. Rows whose
/// probability is 1 in float64 may come in any order: here they are ranked by log-confidence.
fn count_misranked(found: &[i64], expected: &[i64], confidence: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let apart =
        |(&a, &b): (&i64, &i64)| (confidence[a as usize] - confidence[b as usize]).abs() > 1e-12;
    found
        .iter()
        .zip(expected)
        .filter(|&pair| apart(pair))
        .count() as f64
}

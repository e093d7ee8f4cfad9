//! The published cluster ids of CIFAR-10: usage and agreement with the labels.

use super::{Case, comparison, count_differences};
use crate::fixture::Comparison;
use anyhow::Context;
use cedm_maths::partition::{accuracy, agreement, compact};

pub(super) fn published(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let reference = case.config["reference_labels"].as_str().unwrap_or("labels");
    let labels = case.integers(reference)?;
    let metrics = case.config["metrics"]
        .as_object()
        .context("config `metrics`")?;
    let mut comparisons = Vec::new();
    for (key, expected) in metrics {
        let raw_ids = case.integers(key)?;
        let slots = raw_ids.iter().max().context("no ids")? + 1;
        let (ids, usage) = compact(&raw_ids, u32::try_from(slots)?)?;
        let counts: Vec<i64> = usage.counts.iter().map(|&count| count as i64).collect();
        comparisons.push(comparison(
            format!("{key} counts that differ"),
            count_differences(&counts, &case.integers(&format!("freq.{key}"))?),
            0.0,
        ));
        let number = |name: &str| {
            expected[name]
                .as_f64()
                .with_context(|| format!("`{key}.{name}`"))
        };
        comparisons.push(comparison(
            format!("{key} used clusters"),
            (f64::from(usage.used()) - number("utilised")?).abs(),
            0.0,
        ));
        let found = agreement(&labels, &ids)?;
        for (name, found) in [("nmi", found.nmi), ("anmi", found.anmi), ("ari", found.ari)] {
            comparisons.push(comparison(
                format!("{key} {name}"),
                (found - number(name)?).abs(),
                1e-9,
            ));
        }
        // The reference stores percentages in float32.
        comparisons.push(comparison(
            format!("{key} accuracy"),
            (accuracy(&labels, &ids)? - number("acc_upstream_pct")? / 100.0).abs(),
            1e-6,
        ));
    }
    Ok(comparisons)
}

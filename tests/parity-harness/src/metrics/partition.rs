//! Fixtures of the agreement of two partitions.

use super::{Case, comparison, number};
use crate::fixture::Comparison;
use cedm_maths::partition::{accuracy, agreement, one_to_one_accuracy};

/// Every `<case>.labels` with its `<case>.clusters`.
pub(super) fn agreement_of_partitions(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let mut names: Vec<&str> = case
        .tensors
        .keys()
        .filter_map(|name| name.strip_suffix(".labels"))
        .collect();
    names.sort_unstable();
    anyhow::ensure!(!names.is_empty(), "no tensor ends in `.labels`");
    let mut comparisons = Vec::new();
    for name in names {
        let (labels, clusters) = (
            case.integers(&format!("{name}.labels"))?,
            case.integers(&format!("{name}.clusters"))?,
        );
        let values = &case.config["values"][name];
        let found = agreement(&labels, &clusters)?;
        let one_to_one = one_to_one_accuracy(&labels, &clusters)?;
        for (key, found, tolerance) in [
            ("mi_nats", found.mi, 1e-9),
            ("nmi", found.nmi, 1e-9),
            ("anmi_arithmetic", found.anmi, 1e-9),
            ("ari", found.ari, 1e-9),
            ("acc_upstream", accuracy(&labels, &clusters)?, 1e-6),
            ("acc_hungarian_one_to_one", one_to_one, 1e-6),
        ] {
            comparisons.push(comparison(
                format!("{name} {key}"),
                (found - number(values, &[key])?).abs(),
                tolerance,
            ));
        }
    }
    Ok(comparisons)
}

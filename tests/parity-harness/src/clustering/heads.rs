//! TEMI heads: forward pass under upstream's names.

use super::{Case, KINDS, comparison, count_differences, max_abs_error};
use crate::fixture::Comparison;
use cedm_clustering::temi::{forward_with_activations, from_upstream, to_upstream};
use tch::Kind;

pub(super) fn forward(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for (kind, name) in KINDS {
        let tolerance = if kind == Kind::Double { 1e-12 } else { 2e-6 };
        let named = case.below("sd.", kind);
        let model = from_upstream(&named, case.flag("l2_norm"))?;
        let x = case.tensor("x")?.to_kind(kind);
        let standardised = model.standardisation.apply(&x);
        let logits = model.heads.forward(&standardised);
        comparisons.push(comparison(
            format!("{name} logits of all heads"),
            max_abs_error(&logits, case.tensor("logits_f64")?),
            tolerance,
        ));
        let kept = forward_with_activations(&model.heads, &standardised).logits;
        comparisons.push(comparison(
            format!("{name} logits of the training pass"),
            max_abs_error(&kept, case.tensor("logits_f64")?),
            tolerance,
        ));
        let best = model.best_logits(&x);
        comparisons.push(comparison(
            format!("{name} logits of the best head"),
            max_abs_error(&best, case.tensor("logits_best_f64")?),
            tolerance,
        ));
        let chosen = Vec::<i64>::try_from(best.argmax(1, false))?;
        comparisons.push(comparison(
            format!("{name} clusters that differ"),
            count_differences(&chosen, &case.integers("best_argmax")?),
            0.0,
        ));
        let wrong = to_upstream(&model)
            .iter()
            .filter(|(name, tensor)| {
                named
                    .get(name)
                    .is_none_or(|expected| !expected.equal(tensor))
            })
            .count();
        let missing = named.len().abs_diff(to_upstream(&model).len());
        comparisons.push(comparison(
            format!("{name} tensors that an export changes"),
            (wrong + missing) as f64,
            0.0,
        ));
    }
    Ok(comparisons)
}

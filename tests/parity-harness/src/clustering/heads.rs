//! TEMI heads: forward pass under upstream's names.

use super::{Case, KINDS, differing, gap, line};
use crate::fixture::Line;
use cedm_clustering::temi::{forward_with_activations, from_upstream, to_upstream};
use tch::Kind;

pub(super) fn forward(case: &Case) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (kind, name) in KINDS {
        let tolerance = if kind == Kind::Double { 1e-12 } else { 2e-6 };
        let named = case.below("sd.", kind);
        let model = from_upstream(&named, case.flag("l2_norm"))?;
        let x = case.get("x")?.to_kind(kind);
        let standardised = model.standardisation.apply(&x);
        let logits = model.heads.forward(&standardised);
        lines.push(line(
            format!("{name} logits of all heads"),
            gap(&logits, case.get("logits_f64")?),
            tolerance,
        ));
        let kept = forward_with_activations(&model.heads, &standardised).logits;
        lines.push(line(
            format!("{name} logits of the training pass"),
            gap(&kept, case.get("logits_f64")?),
            tolerance,
        ));
        let best = model.best_logits(&x);
        lines.push(line(
            format!("{name} logits of the best head"),
            gap(&best, case.get("logits_best_f64")?),
            tolerance,
        ));
        let chosen = Vec::<i64>::try_from(best.argmax(1, false))?;
        lines.push(line(
            format!("{name} clusters that differ"),
            differing(&chosen, &case.integers("best_argmax")?),
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
        lines.push(line(
            format!("{name} tensors that an export changes"),
            (wrong + missing) as f64,
            0.0,
        ));
    }
    Ok(lines)
}

//! The effect of drawing labels uniformly instead of from p(c) (paper, table 6).

use super::paired;
use cedm_sweep::{
    Sweep,
    outcome::{CellOutcome, UniformEffect},
};

/// The primary metric of every feature space, for every network that was sampled both ways. Only
/// sets with the same seeds are compared.
pub(super) fn effects(sweep: &Sweep, cells: &[CellOutcome]) -> Vec<UniformEffect> {
    let mut effects = Vec::new();
    for evaluation in &sweep.spec.evaluations {
        let name = format!("{}/{}", evaluation.name, evaluation.primary);
        for cell in cells {
            let last = cell.snapshots.iter().find(|snapshot| snapshot.last);
            let Some((prior, uniform)) =
                last.and_then(|last| Some((last.summary.get(&name)?, last.uniform.get(&name)?)))
            else {
                continue;
            };
            let pairs = paired(prior, uniform);
            if pairs.is_empty() {
                continue;
            }
            let mean = |pick: fn(&(f64, f64)) -> f64| {
                pairs.iter().map(pick).sum::<f64>() / pairs.len() as f64
            };
            let (prior_mean, uniform_mean) = (mean(|pair| pair.0), mean(|pair| pair.1));
            effects.push(UniformEffect {
                cell: cell.label.clone(),
                metric: name.clone(),
                prior: prior_mean,
                uniform: uniform_mean,
                increase: uniform_mean - prior_mean,
                sets: pairs.len() as u32,
                images: prior.images,
            });
        }
    }
    effects
}

//! Whether the primary metrics of different feature spaces name the same granularity: FID against
//! FDD (paper, figure 6).

use super::{
    c_max_of,
    groups::{Group, groups},
};
use cedm_catalogue::metrics::metric;
use cedm_sweep::{
    EvaluationSpec, Sweep,
    outcome::{Agreement, BoundOutcome, CellOutcome},
};

/// One entry for each further feature space whose primary metric has scores.
pub(super) fn agreement(
    sweep: &Sweep,
    cells: &[CellOutcome],
    bounds: &[BoundOutcome],
    best: &Group<'_>,
) -> Vec<Agreement> {
    let Some(first) = sweep.spec.evaluations.first() else {
        return Vec::new();
    };
    let of = |evaluation: &EvaluationSpec| {
        let of_space = |evaluation: &EvaluationSpec| {
            let name = format!("{}/{}", evaluation.name, evaluation.primary);
            let direction = metric(&evaluation.primary)?.direction;
            Some(groups(&sweep.spec, cells, &name, direction))
        };
        let (deciding, others) = (of_space(first)?, of_space(evaluation)?);
        let choices = others.iter().filter(|group| group.competes);
        let named = choices.min_by(|a, b| a.objective().total_cmp(&b.objective()))?;
        let clusters = named.clusters?;
        let other = |group: &Group<'_>| {
            let same = others.iter().find(|other| other.label == group.label)?;
            Some((group.objective(), same.objective()))
        };
        let pairs: Vec<(f64, f64)> = deciding.iter().filter_map(other).collect();
        Some(Agreement {
            metric: format!("{}/{}", evaluation.name, evaluation.primary),
            best: named.label.to_owned(),
            clusters,
            same: named.label == best.label,
            within_bound: c_max_of(sweep, bounds, named.clustering).map(|c_max| clusters <= c_max),
            tau: kendall(&pairs),
            networks: pairs.len() as u32,
        })
    };
    sweep.spec.evaluations[1..].iter().filter_map(of).collect()
}

/// Kendall's tau-b: 1 for the same order, −1 for the opposite one, ties counting neither way
/// (Kendall 1945, Biometrika 33:239).
fn kendall(pairs: &[(f64, f64)]) -> Option<f64> {
    let (mut score, mut untied) = (0.0, (0.0, 0.0));
    for (index, a) in pairs.iter().enumerate() {
        for b in &pairs[..index] {
            let sign = |x: f64, y: f64| if x == y { 0.0 } else { (x - y).signum() };
            let (x, y) = (sign(a.0, b.0), sign(a.1, b.1));
            score += x * y;
            untied = (untied.0 + x * x, untied.1 + y * y);
        }
    }
    let scale: f64 = untied.0 * untied.1;
    (scale > 0.0).then(|| score / scale.sqrt())
}

#[cfg(test)]
mod tests {
    use super::kendall;

    #[test]
    fn tau_is_the_share_of_agreeing_pairs() {
        assert_eq!(kendall(&[(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]), Some(1.0));
        assert_eq!(
            kendall(&[(1.0, 30.0), (2.0, 20.0), (3.0, 10.0)]),
            Some(-1.0)
        );
        // scipy.stats.kendalltau([1, 2, 3, 4, 5], [3, 1, 2, 2, 5])
        let found = kendall(&[(1.0, 3.0), (2.0, 1.0), (3.0, 2.0), (4.0, 2.0), (5.0, 5.0)]).unwrap();
        assert!((found - 0.316_227_766_016_837_94).abs() < 1e-15, "{found}");
        assert_eq!(kendall(&[(1.0, 1.0), (1.0, 2.0)]), None, "all ties");
        assert_eq!(kendall(&[(1.0, 1.0)]), None);
    }
}

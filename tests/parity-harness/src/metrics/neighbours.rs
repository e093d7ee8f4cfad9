//! Metrics over nearest neighbours: precision, recall, density, coverage, authenticity, data
//! copying and out-of-distribution scores.

use super::{Case, Precision, comparison, count_differences, max_abs_difference, relative};
use crate::fixture::Comparison;
use cedm_maths::{
    CellAssignment, area_under_roc, authenticity, copying_score, mann_whitney_u, nearest,
    nearest_cosine, nearest_cosine_auroc, prdc, radii, realism, sliced_wasserstein, zu_score,
};
use tch::Kind;

/// Precision, recall, density, coverage, radii, realism, authenticity and the sliced distance.
pub(super) fn balls(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    let ks: Vec<i64> = case.config["ks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_i64)
        .collect();
    anyhow::ensure!(!ks.is_empty(), "metadata lists no `ks`");
    for precision in Precision::BOTH {
        let (real, fake) = (
            case.features("feat_real", precision)?,
            case.features("feat_fake", precision)?,
        );
        let name = precision.name();
        for &k in &ks {
            let key = format!("k{k}");
            let found = prdc(&real, &fake, k)?;
            let found = [
                ("precision", found.precision),
                ("recall", found.recall),
                ("density", found.density),
                ("coverage", found.coverage),
            ];
            // Radii and distances come from one routine, so exact ties are kept and strict
            // comparisons must give exactly the reference's counts.
            let mut error: f64 = 0.0;
            for (metric, value) in found {
                error = error
                    .max((value - case.number(&["values", &key, "direct_strict", metric])?).abs());
            }
            comparisons.push(comparison(
                format!("k={k} precision, recall, density, coverage, {name}"),
                error,
                1e-12,
            ));
            for (side, set) in [("real", &real), ("fake", &fake)] {
                let expected = format!("{key}.radii_{side}_f64");
                if case.has(&expected) {
                    comparisons.push(comparison(
                        format!("k={k} radii of {side}, {name}"),
                        max_abs_difference(&radii(set, k)?, &case.floats(&expected)?),
                        1e-9,
                    ));
                }
            }
            if case.has(&format!("{key}.realism_f64")) {
                let error = realism_error(
                    &realism(&real, &fake, k)?,
                    &case.floats(&format!("{key}.realism_f64"))?,
                );
                comparisons.push(comparison(
                    format!("k={k} realism, {name} relative"),
                    error,
                    1e-9,
                ));
            }
        }
        let found = authenticity(&real, &fake)?;
        let mask: Vec<i64> = found
            .authentic
            .iter()
            .map(|&flag| i64::from(flag))
            .collect();
        comparisons.push(comparison(
            format!("authentic rows, {name}"),
            count_differences(&mask, &case.integers("authentic_mask")?),
            0.0,
        ));
        comparisons.push(comparison(
            format!("authenticity in percent, {name}"),
            (found.percent - case.number(&["values", "authpct", "fp64"])?).abs(),
            1e-10,
        ));
        let indices: Vec<i64> = found.nearest.iter().map(|near| near.index).collect();
        comparisons.push(comparison(
            format!("nearest real rows, {name}"),
            count_differences(&indices, &case.integers("nn_real_of_fake")?),
            0.0,
        ));
        let tolerance = if precision == Precision::Double {
            1e-10
        } else {
            1e-5
        };
        let expected = case.number(&["values", "sw_approx", "fp64"])?;
        comparisons.push(comparison(
            format!("sliced distance, {name} relative"),
            relative(sliced_wasserstein(&real, &fake)?, expected),
            tolerance,
        ));
    }
    Ok(comparisons)
}

/// Relative error of finite values. For a copy of a real row this implementation returns infinity,
/// the reference a very large number.
fn realism_error(found: &[f64], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    const HUGE: f64 = 1e6;
    let error = |(&found, &expected): (&f64, &f64)| match (
        found.is_infinite(),
        expected.is_infinite() || expected > HUGE,
    ) {
        (true, true) => 0.0,
        (false, false) => relative(found, expected),
        _ => f64::INFINITY,
    };
    found.iter().zip(expected).map(error).fold(0.0, f64::max)
}

/// C_T with its cells and the global Z score.
pub(super) fn copying(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let (train, test, generated) = (
        case.features("train", Precision::Double)?,
        case.features("test", Precision::Double)?,
        case.features("gen", Precision::Double)?,
    );
    let cells = [
        case.integers("cells_train")?,
        case.integers("cells_test")?,
        case.integers("cells_gen")?,
    ];
    let expected_cells: Vec<f64> = case.config["values"]["Zu_cells"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_f64)
        .collect();
    let distances = |set| -> anyhow::Result<Vec<f64>> {
        Ok(nearest(set, &train)?
            .into_iter()
            .map(|near| near.distance)
            .collect())
    };
    let (to_generated, to_test) = (distances(&generated)?, distances(&test)?);
    let assigned = |features, index: usize| CellAssignment {
        features,
        cells: &cells[index],
    };
    let found = copying_score(
        &assigned(&train, 0),
        &assigned(&test, 1),
        &assigned(&generated, 2),
        expected_cells.len() as i64,
    )?;
    let kept: Vec<bool> = case.config["values"]["cells_kept"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_bool)
        .collect();
    Ok(vec![
        comparison(
            "distances of generated rows",
            max_abs_difference(&to_generated, &case.floats("nn_dist_gen")?),
            1e-9,
        ),
        comparison(
            "distances of test rows",
            max_abs_difference(&to_test, &case.floats("nn_dist_test")?),
            1e-9,
        ),
        comparison(
            "U over all cells",
            (mann_whitney_u(&to_generated, &to_test) - case.number(&["values", "U_global"])?).abs(),
            1e-9,
        ),
        comparison(
            "Z over all cells",
            (zu_score(&to_generated, &to_test) - case.number(&["values", "Zu_global"])?).abs(),
            1e-9,
        ),
        comparison(
            "Z of each cell",
            max_abs_difference(&found.cells, &expected_cells),
            1e-9,
        ),
        comparison("cells kept", count_differences(&found.kept, &kept), 0.0),
        comparison(
            "C_T",
            (found.score.unwrap_or(f64::NAN) - case.number(&["values", "C_T"])?).abs(),
            1e-9,
        ),
    ])
}

/// Nearest-neighbour cosine scores and their AUROC.
pub(super) fn out_of_distribution(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let ties = case.number(&["values", "tie_pairs"])? > 0.0;
    let expected = case.number(&["values", "auroc_test_positive"])?;
    let mut comparisons = Vec::new();
    for precision in Precision::BOTH {
        let name = precision.name();
        let (score_tolerance, auroc_tolerance) = match (precision, ties) {
            (Precision::Double, _) => (1e-12, 1e-9),
            (Precision::Single, false) => (2e-6, 1e-4),
            (Precision::Single, true) => (2e-6, 1e-3),
        };
        let train = case.features("train", precision)?;
        for side in ["test", "gen"] {
            let queries = case.features(side, precision)?;
            let found = nearest_cosine(&queries, &train)?;
            let scores: Vec<f64> = found.iter().map(|near| near.similarity).collect();
            comparisons.push(comparison(
                format!("scores of {side}, {name}"),
                max_abs_difference(&scores, &case.floats(&format!("score_{side}_f64"))?),
                score_tolerance,
            ));
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            let error = (mean - case.number(&["values", &format!("mean_sim_{side}")])?).abs();
            comparisons.push(comparison(
                format!("mean score of {side}, {name}"),
                error,
                score_tolerance,
            ));
            // If two training rows tie, the expected one must be as similar as the one found.
            let (unit, base) = (
                queries.unit_rows().to_kind(Kind::Double),
                train.unit_rows().to_kind(Kind::Double),
            );
            let index = case.tensor(&format!("nn_idx_{side}"))?.to_kind(Kind::Int64);
            let theirs: Vec<f64> =
                Vec::try_from(&(unit * base.index_select(0, &index)).sum_dim_intlist(
                    [1i64].as_slice(),
                    false,
                    Kind::Double,
                ))?;
            comparisons.push(comparison(
                format!("nearest row of {side}, {name}"),
                max_abs_difference(&scores, &theirs),
                score_tolerance,
            ));
        }
        let found = nearest_cosine_auroc(
            &train,
            &case.features("test", precision)?,
            &case.features("gen", precision)?,
        )?;
        comparisons.push(comparison(
            format!("AUROC, {name}"),
            (found - expected).abs(),
            auroc_tolerance,
        ));
    }
    let negated = |name: &str| -> anyhow::Result<Vec<f64>> {
        Ok(case
            .floats(name)?
            .into_iter()
            .map(|score| -(score * 1e12).round_ties_even() / 1e12)
            .collect())
    };
    let swapped =
        area_under_roc(&negated("score_gen_f64")?, &negated("score_test_f64")?).unwrap_or(f64::NAN);
    let expected = case.number(&["values", "auroc_generated_positive_with_neg_score"])?;
    comparisons.push(comparison(
        "AUROC of negated scores, sides swapped",
        (swapped - expected).abs(),
        1e-9,
    ));
    Ok(comparisons)
}

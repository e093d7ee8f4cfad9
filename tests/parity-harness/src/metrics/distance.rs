//! Fréchet and kernel distances.

use super::{Case, Precision, comparison, max_abs_difference, max_abs_error, relative};
use crate::fixture::Comparison;
use cedm_maths::{Frechet, Gaussian, MeanStd, Moments, frechet, frechet_to, kid};

/// fd from features, from shards and from statistics.
pub(super) fn frechet_distance(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let (reference, generated) = (
        case.features("feat_ref", Precision::Double)?,
        case.features("feat_gen", Precision::Double)?,
    );
    let (reference, moments) = (Moments::of(&reference).gaussian()?, Moments::of(&generated));
    let gaussian = moments.gaussian()?;
    let width = gaussian.width() as f64;
    // Tolerance for covariances of full rank 1e-9; for singular ones 1e-5, the accuracy of the
    // reference tools.
    let singular = case.config["singular"]
        .as_bool()
        .unwrap_or((generated.count() as f64) < width);
    let tolerance = if singular { 1e-5 } else { 1e-9 };
    let expected = case.floats("fd")?[0];
    let found = frechet(&reference, &gaussian)?;
    let mut comparisons = vec![
        comparison(
            "fd, f64 relative",
            relative(found.distance, expected),
            tolerance,
        ),
        comparison(
            "|mu1 - mu2|^2, relative",
            relative(found.mean_term, case.floats("mean_term")?[0]),
            1e-9,
        ),
        comparison(
            "tr S1, tr S2, absolute per dimension",
            max_abs_difference(&found.traces, &case.floats("trace_sigma")?) / width,
            1e-9,
        ),
        comparison(
            "tr sqrt(S1 S2), f64 relative",
            relative(found.trace_root, case.floats("trace_sqrt")?[0]),
            tolerance,
        ),
    ];
    for (name, of) in [("ref", &reference), ("gen", &gaussian)] {
        comparisons.push(comparison(
            format!("mu_{name}"),
            max_abs_error(of.mu(), case.tensor(&format!("mu_{name}"))?),
            1e-12,
        ));
        if case.has(&format!("sigma_{name}")) {
            comparisons.push(comparison(
                format!("sigma_{name}"),
                max_abs_error(of.sigma(), case.tensor(&format!("sigma_{name}"))?),
                1e-12,
            ));
        }
    }
    if case.has("sigma_ref") && case.has("sigma_gen") {
        let stored = |name: &str| -> anyhow::Result<Gaussian> {
            Ok(Gaussian::new(
                name,
                case.tensor(&format!("mu_{name}"))?,
                case.tensor(&format!("sigma_{name}"))?,
            )?)
        };
        let from_statistics = frechet(&stored("ref")?, &stored("gen")?)?;
        comparisons.push(comparison(
            "fd from stored mu and sigma, relative",
            relative(from_statistics.distance, expected),
            tolerance,
        ));
    }
    comparisons.extend(merge_of_stored_shards(
        case, &reference, &moments, expected, tolerance,
    )?);
    comparisons.push(merge_of_uneven_parts(&generated, &reference, &found)?);
    Ok(comparisons)
}

/// Merges `shard{i}.n`, `.sum`, `.outer`, where the file has them.
fn merge_of_stored_shards(
    case: &Case,
    reference: &Gaussian,
    whole: &Moments,
    expected: f64,
    tolerance: f64,
) -> anyhow::Result<Vec<Comparison>> {
    let mut merged: Option<Moments> = None;
    for index in 0.. {
        let part = |name: &str| format!("shard{index}.{name}");
        if !case.has(&part("n")) {
            break;
        }
        let count = case.integers(&part("n"))?[0];
        let shard = Moments::from_parts(
            format!("shard {index}"),
            count,
            case.tensor(&part("sum"))?,
            case.tensor(&part("outer"))?,
        )?;
        match &mut merged {
            None => merged = Some(shard),
            Some(sum) => sum.merge(&shard)?,
        }
    }
    let Some(merged) = merged else {
        return Ok(Vec::new());
    };
    let gaussian = merged.gaussian()?;
    let found = frechet(reference, &gaussian)?;
    Ok(vec![
        comparison(
            "shards: count",
            (merged.count() - whole.count()).abs() as f64,
            0.0,
        ),
        comparison(
            "shards: mu",
            max_abs_error(gaussian.mu(), case.tensor("mu_gen")?),
            1e-12,
        ),
        comparison(
            "shards: sigma",
            max_abs_error(gaussian.sigma(), case.tensor("sigma_gen")?),
            1e-12,
        ),
        comparison(
            "shards: fd, relative",
            relative(found.distance, expected),
            tolerance,
        ),
    ])
}

/// Moments merged from parts of a set (one row, a third, the rest) must give the same distance.
fn merge_of_uneven_parts(
    generated: &cedm_maths::Features,
    reference: &Gaussian,
    whole: &Frechet,
) -> anyhow::Result<Comparison> {
    let count = generated.count();
    let mut merged: Option<Moments> = None;
    for (from, to) in [(count / 3, count), (0, 1), (1, count / 3)] {
        if from >= to {
            continue;
        }
        let shard = Moments::of(&generated.select(&(from..to).collect::<Vec<_>>())?);
        match &mut merged {
            None => merged = Some(shard),
            Some(sum) => sum.merge(&shard)?,
        }
    }
    let gaussian = merged.expect("a set has rows").gaussian()?;
    let found = frechet_to(&reference.root()?, reference, &gaussian)?;
    Ok(comparison(
        "fd of another cut, relative",
        relative(found.distance, whole.distance),
        1e-9,
    ))
}

/// Unbiased MMD² over the given subsets.
pub(super) fn kernel_distance(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let rows = |name: &str| -> anyhow::Result<Vec<Vec<i64>>> {
        let size = case.tensor(name)?.size()[1] as usize;
        Ok(case
            .integers(name)?
            .chunks(size)
            .map(<[i64]>::to_vec)
            .collect())
    };
    let subsets: Vec<_> = rows("subset_idx_1")?
        .into_iter()
        .zip(rows("subset_idx_2")?)
        .collect();
    let expected = case.floats("mmd2_per_subset_f64")?;
    let mut comparisons = Vec::new();
    for (precision, tolerance) in [(Precision::Double, 1e-10), (Precision::Single, 5e-6)] {
        let found = kid(
            &case.features("feat_1", precision)?,
            &case.features("feat_2", precision)?,
            &subsets,
        )?;
        comparisons.push(comparison(
            format!("mmd2 per subset, {}", precision.name()),
            max_abs_difference(&found, &expected),
            tolerance,
        ));
        let spread = MeanStd::of(&found);
        let summary = max_abs_difference(
            &[spread.mean, spread.std],
            &[
                case.number(&["values", "mean"])?,
                case.number(&["values", "std"])?,
            ],
        );
        comparisons.push(comparison(
            format!("mean and std, {}", precision.name()),
            summary,
            tolerance,
        ));
    }
    Ok(comparisons)
}

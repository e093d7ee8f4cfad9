//! k-means: iterations from given centroids, and the quality of our own initialisation.

use super::{Case, KINDS, comparison, count_differences, larger_error, max_abs_error};
use crate::fixture::Comparison;
use anyhow::Context;
use cedm_clustering::kmeans::{Rows, fit, lloyd};
use cedm_contract::kinds::cluster::KmeansParams;
use cedm_maths::Features;
use tch::{Kind, Tensor};

pub(super) fn iterations(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for (kind, name) in KINDS {
        let (centroid_bar, inertia_bar) = if kind == Kind::Double {
            (1e-9, 1e-10)
        } else {
            (2e-6, 2e-6)
        };
        let rows = Rows::new(&Features::new(
            "features",
            &case.tensor("features")?.to_kind(kind),
        )?);
        let initial = rows.centred_centroids(&case.tensor("init_centroids")?.to_kind(kind));
        for (count, what) in [(1, "after1"), (5, "after5"), (u32::MAX, "")] {
            let run = lloyd(&rows, &initial, count, 0.0, &mut |_| true);
            let at = if what.is_empty() {
                "fixed point".to_owned()
            } else {
                format!("{count} iterations")
            };
            let (centroids, assign, inertia) = match what {
                "" => (
                    "centroids_f64".to_owned(),
                    "assign".to_owned(),
                    "inertia_converged".to_owned(),
                ),
                _ => (
                    format!("centroids_{what}_f64"),
                    format!("assign_{what}"),
                    format!("inertia_{what}"),
                ),
            };
            let inertia = case.setting(&inertia)?;
            comparisons.push(comparison(
                format!("{name} {at}: centroids"),
                max_abs_error(&rows.uncentred(&run.centroids), case.tensor(&centroids)?),
                centroid_bar,
            ));
            comparisons.push(comparison(
                format!("{name} {at}: ids that differ"),
                count_differences(&Vec::<i64>::try_from(&run.ids)?, &case.integers(&assign)?),
                0.0,
            ));
            comparisons.push(comparison(
                format!("{name} {at}: inertia, rel"),
                (run.inertia - inertia).abs() / inertia,
                inertia_bar,
            ));
            if what.is_empty() {
                let expected = case.tensor("inertia_per_iter_f64")?;
                let found = Tensor::from_slice(&run.inertia_by_iteration);
                let error = if found.size() == expected.size() {
                    ((found - expected) / expected)
                        .abs()
                        .max()
                        .double_value(&[])
                } else {
                    f64::NAN
                };
                comparisons.push(comparison(
                    format!("{name} inertia of each iteration, rel"),
                    error,
                    inertia_bar,
                ));
            }
        }
    }
    comparisons.push(quality(case)?);
    Ok(comparisons)
}

/// Mean inertia of five starts against faiss's mean plus two standard deviations: how far above, if
/// at all.
fn quality(case: &Case) -> anyhow::Result<Comparison> {
    let features = Features::new("features", case.tensor("features")?)?;
    let clusters = case.setting("K")? as u32;
    let params = KmeansParams {
        starts: 5,
        ..KmeansParams::default()
    };
    let fitted = fit(&features, clusters, &params, 0, &mut |_, _, _| true)?
        .context("k-means stopped by itself")?;
    let mean = fitted.inertias.iter().sum::<f64>() / fitted.inertias.len() as f64;
    let faiss = |name: &str| {
        case.config["faiss"][name]
            .as_f64()
            .with_context(|| format!("config `faiss.{name}`"))
    };
    let bar = faiss("mean")? + 2.0 * faiss("std")?;
    let plus_plus = case.config["sklearn_kmeanspp"]["mean"]
        .as_f64()
        .unwrap_or(f64::NAN);
    let what = format!(
        "mean inertia of 5 starts {mean:.1} (scikit-learn k-means++ {plus_plus:.1}) above {bar:.1}"
    );
    Ok(comparison(what, larger_error(mean - bar, 0.0), 0.0))
}

//! k-means: iterations from given centroids, and the quality of our own initialisation.

use super::{Case, KINDS, differing, gap, line, worse};
use crate::fixture::Line;
use anyhow::Context;
use cedm_clustering::kmeans::{Rows, fit, lloyd};
use cedm_contract::kinds::cluster::KmeansParams;
use cedm_maths::Features;
use tch::{Kind, Tensor};

pub(super) fn iterations(case: &Case) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (kind, name) in KINDS {
        let (centroid_bar, inertia_bar) = if kind == Kind::Double {
            (1e-9, 1e-10)
        } else {
            (2e-6, 2e-6)
        };
        let rows = Rows::new(&Features::new(
            "features",
            &case.get("features")?.to_kind(kind),
        )?);
        let initial = rows.centred_centroids(&case.get("init_centroids")?.to_kind(kind));
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
            let inertia = case.number(&inertia)?;
            lines.push(line(
                format!("{name} {at}: centroids"),
                gap(&rows.uncentred(&run.centroids), case.get(&centroids)?),
                centroid_bar,
            ));
            lines.push(line(
                format!("{name} {at}: ids that differ"),
                differing(&Vec::<i64>::try_from(&run.ids)?, &case.integers(&assign)?),
                0.0,
            ));
            lines.push(line(
                format!("{name} {at}: inertia, rel"),
                (run.inertia - inertia).abs() / inertia,
                inertia_bar,
            ));
            if what.is_empty() {
                let expected = case.get("inertia_per_iter_f64")?;
                let found = Tensor::from_slice(&run.inertia_by_iteration);
                let error = if found.size() == expected.size() {
                    ((found - expected) / expected)
                        .abs()
                        .max()
                        .double_value(&[])
                } else {
                    f64::NAN
                };
                lines.push(line(
                    format!("{name} inertia of each iteration, rel"),
                    error,
                    inertia_bar,
                ));
            }
        }
    }
    lines.push(quality(case)?);
    Ok(lines)
}

/// Mean inertia of five starts against faiss's mean plus two standard deviations: how far above, if
/// at all.
fn quality(case: &Case) -> anyhow::Result<Line> {
    let features = Features::new("features", case.get("features")?)?;
    let clusters = case.number("K")? as u32;
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
    Ok(line(what, worse(mean - bar, 0.0), 0.0))
}

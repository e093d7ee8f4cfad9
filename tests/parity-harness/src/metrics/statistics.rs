//! Reference statistics in EDM's npz form.

use super::{comparison, max_abs_error};
use crate::fixture::{Fixture, Verdict};
use anyhow::Context;
use cedm_maths::{Gaussian, Statistics, array_names, read_statistics, write_statistics};

/// Reads the file, writes it again, and compares it with the Fréchet fixture beside it that has the
/// same statistics.
pub(super) fn check(fixture: &Fixture) -> anyhow::Result<Verdict> {
    let names = array_names(&fixture.path)?;
    if !["mu", "sigma"]
        .iter()
        .all(|wanted| names.iter().any(|name| name == wanted))
    {
        return Ok(Verdict::NotRecognised);
    }
    let read = read_statistics(&fixture.path)?.gaussian;
    let copy = Gaussian::new("copy", read.mu(), read.sigma())?;
    let scratch = std::env::temp_dir().join(format!("cedm-parity-{}.npz", std::process::id()));
    write_statistics(
        &scratch,
        &Statistics {
            gaussian: copy,
            count: None,
            extractor: None,
            weights: None,
        },
    )?;
    let again = read_statistics(&scratch)?.gaussian;
    std::fs::remove_file(&scratch)?;
    let mut comparisons = vec![
        comparison(
            "mu written and read again",
            max_abs_error(again.mu(), read.mu()),
            0.0,
        ),
        comparison(
            "sigma written and read again",
            max_abs_error(again.sigma(), read.sigma()),
            0.0,
        ),
    ];
    let folder = fixture.path.parent().context("a file has a folder")?;
    let mut nearest: Option<(f64, f64)> = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "safetensors")
        {
            continue;
        }
        let beside = Fixture::open(&path)?;
        if beside
            .json("config")
            .is_none_or(|config| config["case"] != "frechet")
        {
            continue;
        }
        let tensors = cedm_torch::tensor_files::read(&path)?;
        let (Some(mu), Some(sigma)) = (tensors.get("mu_ref"), tensors.get("sigma_ref")) else {
            continue;
        };
        let errors = (
            max_abs_error(read.mu(), mu),
            max_abs_error(read.sigma(), sigma),
        );
        if nearest.is_none_or(|best| errors.0 < best.0) && !errors.0.is_nan() {
            nearest = Some(errors);
        }
    }
    if let Some((mu, sigma)) = nearest {
        comparisons.push(comparison("mu of the fixture beside it", mu, 1e-12));
        comparisons.push(comparison("sigma of the fixture beside it", sigma, 1e-12));
    }
    Ok(Verdict::Checked(comparisons))
}

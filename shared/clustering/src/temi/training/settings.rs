//! Checks of a training's settings, made once before anything is computed.

use crate::ClusteringError;
use cedm_contract::kinds::cluster::TemiParams;

/// Checks the settings against their ranges and against the number of rows.
///
/// # Errors
/// [`ClusteringError::Setting`] naming the first one that does not fit.
pub(super) fn check_settings(
    params: &TemiParams,
    clusters: u32,
    rows: i64,
) -> Result<(), ClusteringError> {
    let check = |fits: bool, setting: &'static str, found: String, expected: &str| {
        if fits {
            Ok(())
        } else {
            Err(ClusteringError::setting(setting, found, expected))
        }
    };
    check(
        clusters >= 2,
        "clusters",
        clusters.to_string(),
        "at least 2",
    )?;
    check(
        i64::from(clusters) <= rows,
        "clusters",
        clusters.to_string(),
        &format!("at most the number of images, {rows}"),
    )?;
    check(
        params.epochs >= 1,
        "epochs",
        params.epochs.to_string(),
        "at least 1",
    )?;
    check(
        params.batch >= 1,
        "batch",
        params.batch.to_string(),
        "at least 1",
    )?;
    check(
        i64::from(params.batch) <= rows,
        "batch",
        params.batch.to_string(),
        &format!("at most the number of images, {rows}"),
    )?;
    check(
        params.neighbours >= 1,
        "neighbours",
        params.neighbours.to_string(),
        "at least 1",
    )?;
    for (setting, value) in [
        ("beta", params.beta),
        ("student_temperature", params.student_temperature),
        ("teacher_temperature", params.teacher_temperature),
        (
            "teacher_temperature_start",
            params.teacher_temperature_start,
        ),
    ] {
        check(
            value > 0.0 && value.is_finite(),
            setting,
            value.to_string(),
            "a number above 0",
        )?;
    }
    for (setting, value) in [
        ("marginal_momentum", params.marginal_momentum),
        ("teacher_momentum", params.teacher_momentum),
        ("teacher_momentum_end", params.teacher_momentum_end),
    ] {
        check(
            (0.0..=1.0).contains(&value),
            setting,
            value.to_string(),
            "a number from 0 to 1",
        )?;
    }
    for (setting, value) in [("betas[0]", params.betas.0), ("betas[1]", params.betas.1)] {
        check(
            (0.0..1.0).contains(&value),
            setting,
            value.to_string(),
            "a number from 0 to below 1",
        )?;
    }
    check(
        params.eps > 0.0 && params.eps.is_finite(),
        "eps",
        params.eps.to_string(),
        "a number above 0",
    )?;
    for (setting, value) in [
        ("base_lr", params.base_lr),
        ("min_lr", params.min_lr),
        ("weight_decay", params.weight_decay),
        ("weight_decay_end", params.weight_decay_end),
        ("clip", params.clip),
    ] {
        check(
            value >= 0.0 && value.is_finite(),
            setting,
            value.to_string(),
            "a number of at least 0",
        )?;
    }
    Ok(())
}

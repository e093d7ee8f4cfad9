//! Checks of a run's settings and images, made once before anything is computed.

use crate::{
    DiffusionError,
    architecture::Architecture,
    augment::{AugmentPipe, Transform},
};
use cedm_contract::kinds::train::OptimiserParams;
use tch::{Kind, Tensor};

/// Checks the optimiser's settings.
///
/// # Errors
/// [`DiffusionError::Setting`] naming the first one that is out of range.
pub(super) fn check_optimiser(params: &OptimiserParams) -> Result<(), DiffusionError> {
    let invalid = |field, found: String, expected: &str| {
        Err(DiffusionError::Setting {
            field,
            found,
            expected: expected.into(),
        })
    };
    if params.batch == 0 {
        return invalid("batch", "0".into(), "at least 1");
    }
    if params.micro_batch == 0 || !params.batch.is_multiple_of(params.micro_batch) {
        let found = format!("{} for a batch of {}", params.micro_batch, params.batch);
        return invalid("micro_batch", found, "a divisor of the batch");
    }
    for (field, value) in [
        ("lr", params.lr),
        ("eps", params.eps),
        ("p_std", params.p_std),
        ("loss_scaling", params.loss_scaling),
    ] {
        if !(value.is_finite() && value > 0.0) {
            return invalid(field, value.to_string(), "a positive number");
        }
    }
    if !params.p_mean.is_finite() {
        return invalid("p_mean", params.p_mean.to_string(), "a finite number");
    }
    for (field, value) in [
        ("lr_rampup_kimg", params.lr_rampup_kimg),
        ("ema_halflife_kimg", params.ema_halflife_kimg),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return invalid(field, value.to_string(), "a number of at least 0");
        }
    }
    if let Some(ratio) = params.ema_rampup_ratio
        && !(ratio.is_finite() && ratio > 0.0)
    {
        return invalid(
            "ema_rampup_ratio",
            ratio.to_string(),
            "a positive number, or none for no ramp",
        );
    }
    if !(0.0..1.0).contains(&params.betas.0) || !(0.0..1.0).contains(&params.betas.1) {
        return invalid(
            "betas",
            format!("{:?}", params.betas),
            "two numbers from 0 to below 1",
        );
    }
    Ok(())
}

/// Checks that the pipe's labels fit the network's `augment_dim`.
///
/// # Errors
/// [`DiffusionError::Setting`].
pub(super) fn check_augment(
    pipe: &AugmentPipe,
    architecture: &Architecture,
) -> Result<(), DiffusionError> {
    let full: i64 = Transform::TRAINING
        .iter()
        .map(|transform| transform.label_width())
        .sum();
    let (wanted, on) = (architecture.augment_dim, pipe.label_width());
    if !(0.0..=1.0).contains(&pipe.p) {
        return Err(DiffusionError::Setting {
            field: "augment.p",
            found: pipe.p.to_string(),
            expected: "a probability".into(),
        });
    }
    if pipe.p > 0.0 && on == 0 {
        return Err(DiffusionError::Setting {
            field: "augment.p",
            found: format!("{} with every transform off", pipe.p),
            expected: "0, or a transform with a multiplier above 0".into(),
        });
    }
    if on > 0 && wanted != full && wanted != on {
        let expected = format!("{full} (all training transforms) or {on} (those that are on)");
        return Err(DiffusionError::Setting {
            field: "augment_dim",
            found: wanted.to_string(),
            expected,
        });
    }
    Ok(())
}

/// Checks that images are u8 \[n, c, r, r\] as the network takes them.
///
/// # Errors
/// [`DiffusionError::Shape`].
pub(super) fn check_images(
    images: &Tensor,
    architecture: &Architecture,
) -> Result<(), DiffusionError> {
    let (size, side) = (images.size(), architecture.resolution);
    if images.kind() != Kind::Uint8
        || size.len() != 4
        || size[1..] != [architecture.channels, side, side]
        || size[0] == 0
    {
        return Err(DiffusionError::Shape {
            what: "training images".into(),
            found: format!("{:?} {size:?}", images.kind()),
            expected: format!(
                "Uint8 [n, {}, {side}, {side}] with n of at least 1, as the network has",
                architecture.channels
            ),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn augmentation_with_every_transform_off_is_refused() {
        let mut preset = cedm_sweep::preset("digits8").unwrap();
        preset.augment.p = 0.12;
        let architecture = Architecture::try_from(&preset.network).unwrap();
        let error = check_augment(&AugmentPipe::from(&preset.augment), &architecture)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`augment.p` is 0.12 with every transform off, expected 0, or a transform with a \
             multiplier above 0"
        );
    }
}

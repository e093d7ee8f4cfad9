//! The augmentation pipe with prescribed draws: every transform alone, and the training set of them
//! together.

use super::{Case, comparison, double, max_abs};
use crate::fixture::{Comparison, Fixture};
use anyhow::{Context, bail};
use cedm_diffusion::{
    augment::{AugmentPipe, Draws, Transform, TransformRanges},
    loss::normalise,
};
use serde_json::Value;
use tch::{Kind, Tensor};

/// An `augment_single` fixture: one transform alone.
pub fn single_transforms(fixture: &Fixture) -> anyhow::Result<Vec<Comparison>> {
    let case = Case::open(fixture)?;
    let configs = fixture.json("configs").context("metadata `configs`")?;
    let mut comparisons = Vec::new();
    for (name, config) in configs.as_object().context("`configs` is not an object")? {
        comparisons.extend(compare(&case, &format!("{name}/"), config)?);
    }
    Ok(comparisons)
}

/// An `augment` fixture: all transforms composed.
pub fn combined_transforms(fixture: &Fixture) -> anyhow::Result<Vec<Comparison>> {
    compare(
        &Case::open(fixture)?,
        "",
        &fixture.json("config").context("metadata `config`")?,
    )
}

fn compare(case: &Case, prefix: &str, config: &Value) -> anyhow::Result<Vec<Comparison>> {
    let pipe = pipe(config)?;
    let raw = case
        .below(&format!("{prefix}draw/"))
        .into_iter()
        .map(|(name, draw)| (name.to_owned(), draw.shallow_clone()));
    let draws = Draws { raw: raw.collect() };
    let pixels = case.get("images_u8")?;
    let found = pipe.apply(&normalise(pixels, Kind::Float), &draws);
    let expected = case
        .find(&format!("{prefix}out_f64"))
        .map_or_else(|| case.get(&format!("{prefix}out_f32")), Ok)?;

    let on: Vec<Transform> = Transform::ALL
        .into_iter()
        .filter(|&transform| pipe.multiplier(transform) > 0.0)
        .collect();
    let exact = on.iter().all(|t| {
        matches!(
            t,
            Transform::Xflip | Transform::Yflip | Transform::RotateInt | Transform::TranslateInt
        )
    });
    let geometric = on.iter().any(|t| {
        matches!(
            t,
            Transform::Scale | Transform::RotateFrac | Transform::Aniso | Transform::TranslateFrac
        )
    });
    let label = if prefix.is_empty() {
        "all together"
    } else {
        prefix.trim_end_matches('/')
    };
    let allowed = if exact {
        0.0
    } else if geometric {
        1e-4
    } else {
        3e-6
    };
    let mut comparisons = vec![comparison(
        format!("{label}: images, max abs"),
        max_abs(&found.images, expected),
        allowed,
    )];
    if geometric {
        let rms = (double(&found.images) - double(expected))
            .square()
            .mean(Kind::Double)
            .sqrt()
            .double_value(&[]);
        comparisons.push(comparison(format!("{label}: images, RMS"), rms, 5e-6));
    }
    let labels = case.get(&format!("{prefix}labels_f32"))?;
    comparisons.push(comparison(
        format!("{label}: labels, max abs"),
        max_abs(&found.labels, labels),
        2e-6,
    ));
    let mut worst = 0.0f64;
    for (name, value) in &found.values {
        let expected = case.get(&format!("{prefix}param/{name}"))?;
        worst = worst.max(
            max_abs(&value.flatten(0, -1), &expected.flatten(0, -1))
                / double(expected).abs().max().double_value(&[]).max(1.0),
        );
    }
    comparisons.push(comparison(
        format!("{label}: {} values in plain units", found.values.len()),
        worst,
        2e-6,
    ));
    let precise = pipe.apply(
        &normalise(pixels, Kind::Double),
        &Draws {
            raw: draws.raw.iter().map(in_double).collect(),
        },
    );
    comparisons.push(comparison(
        format!("{label}: f64 images, max abs"),
        max_abs(&precise.images, expected),
        if exact { 1e-7 } else { allowed },
    ));
    Ok(comparisons)
}

fn in_double((name, draw): (&String, &Tensor)) -> (String, Tensor) {
    let draw = if draw.kind() == Kind::Float {
        draw.to_kind(Kind::Double)
    } else {
        draw.shallow_clone()
    };
    (name.clone(), draw)
}

fn pipe(config: &Value) -> anyhow::Result<AugmentPipe> {
    let mut pipe = AugmentPipe {
        p: config["p"].as_f64().unwrap_or(1.0),
        ..AugmentPipe::default()
    };
    for (name, value) in config
        .as_object()
        .context("augment config is not an object")?
    {
        if name == "p" {
            continue;
        }
        let Some(multiplier) = value.as_f64() else {
            bail!("augment setting {name} is {value}")
        };
        match Transform::ALL
            .into_iter()
            .find(|transform| transform.name() == name)
        {
            Some(transform) => pipe.multipliers.push((transform, multiplier)),
            None => {
                *range_of(&mut pipe.ranges, name)
                    .with_context(|| format!("augment setting {name} is not known here"))? =
                    multiplier
            }
        }
    }
    Ok(pipe)
}

/// The setting of this upstream name.
fn range_of<'r>(ranges: &'r mut TransformRanges, name: &str) -> Option<&'r mut f64> {
    Some(match name {
        "translate_int_max" => &mut ranges.translate_int_max,
        "scale_std" => &mut ranges.scale_std,
        "rotate_frac_max" => &mut ranges.rotate_frac_max,
        "aniso_std" => &mut ranges.aniso_std,
        "aniso_rotate_prob" => &mut ranges.aniso_rotate_prob,
        "translate_frac_std" => &mut ranges.translate_frac_std,
        "brightness_std" => &mut ranges.brightness_std,
        "contrast_std" => &mut ranges.contrast_std,
        "hue_max" => &mut ranges.hue_max,
        "saturation_std" => &mut ranges.saturation_std,
        _ => return None,
    })
}

//! Vision transformers, their positions, and the full ViT with filled weights.

use super::{
    Comparison, Verdict,
    listing::{Listing, integer},
    max_abs_error, max_error_over_rms,
};
use crate::fixture::Fixture;
use anyhow::{Context, ensure};
use cedm_nets::{
    Weights,
    vit::{
        FeedForward, Vit, VitConfig,
        positions::{Interpolation, resample, sin_cos},
    },
};
use serde_json::Value;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

pub mod fill;

/// Allowed errors, relative to the root mean square of the reference.
const FEATURES: f64 = 3e-5;
const INTERMEDIATES: f64 = 1e-4;
const POSITIONS: f64 = 1e-6;

pub fn check(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Verdict> {
    let tensors = listing.tensors();
    if tensors.len() == 1 && tensors.contains_key("x") {
        return Ok(Verdict::PartOf("the cases that read it".to_owned()));
    }
    if tensors.contains_key("pos_embed")
        && tensors.contains_key("cls_token")
        && fixture
            .path
            .to_string_lossy()
            .ends_with(".weights.safetensors")
    {
        return Ok(Verdict::PartOf(format!(
            "{}.io.safetensors",
            listing.stem()
        )));
    }
    if tensors.keys().any(|name| name.contains("_to_")) {
        return Ok(Verdict::Checked(positions(&fixture.tensors()?)?));
    }
    if tensors.contains_key("tokens_mean") {
        return Ok(Verdict::Checked(full(fixture, listing)?));
    }
    if listing.name.ends_with("rule_table.json") {
        return fill::check_table(listing);
    }
    match listing
        .case()
        .map(|case| &case["config"])
        .filter(|config| config["family"].is_string())
    {
        Some(config) if tensors.contains_key("feat") => {
            Ok(Verdict::Checked(tiny(fixture, listing, config)?))
        }
        _ => Ok(Verdict::NotRecognised),
    }
}

/// The network that a configuration describes.
fn config_of(config: &Value) -> anyhow::Result<VitConfig> {
    let family = config["family"].as_str().unwrap_or_default();
    let (dim, image, patch) = (
        integer(config, "dim")?,
        integer(config, "image")?,
        integer(config, "patch")?,
    );
    let (depth, heads) = (integer(config, "depth")?, integer(config, "heads")?);
    ensure!(
        matches!(family, "dino" | "mocov3" | "ibot" | "dinov2"),
        "unknown family `{family}`"
    );
    let found = if family == "dinov2" {
        let swiglu = config["ffn"]
            .as_str()
            .is_some_and(|ffn| ffn.starts_with("SwiGLU"));
        let feed_forward = if swiglu {
            FeedForward::SwiGlu
        } else {
            FeedForward::Mlp {
                ratio: integer(config, "mlp_hidden")? / dim,
            }
        };
        let base = VitConfig {
            patch,
            grid: integer(config, "pos_grid")?,
            ..VitConfig::dinov2(dim, depth, heads, feed_forward)
        };
        config["registers"]
            .as_i64()
            .map_or(base, |registers| base.with_registers(registers))
    } else {
        let feed_forward = FeedForward::Mlp {
            ratio: integer(config, "mlp_hidden")? / dim,
        };
        VitConfig {
            patch,
            feed_forward,
            grid: image / patch,
            ..VitConfig::dino(dim, depth, heads)
        }
    };
    if let Some(hidden) = config["swiglu_hidden"].as_i64() {
        ensure!(
            found.hidden() == hidden,
            "SwiGLU is {} wide, expected {hidden}",
            found.hidden()
        );
    }
    Ok(found)
}

fn tiny(fixture: &Fixture, listing: &Listing, case: &Value) -> anyhow::Result<Vec<Comparison>> {
    let config = config_of(case)?;
    let expect = fixture.tensors()?;
    let weights = listing.listed_weights()?;
    let x = listing.shared_input(integer(case, "image")?)?;
    let net = Vit::load(&weights, config, Kind::Float, Device::Cpu)?;
    let mut comparisons = Vec::new();
    let features = net
        .tokens(&x, &mut |name, value| match name {
            "pos" => comparisons.extend(expect.get("pos_224").map(|expect| {
                Comparison::new("positions", max_abs_error(value, expect), POSITIONS)
            })),
            name => {
                // Intermediates are kept for the first image alone.
                let found = value.narrow(0, 0, 1);
                comparisons.extend(expect.get(name).map(|expect| {
                    Comparison::new(name, max_error_over_rms(&found, expect), INTERMEDIATES)
                }));
            }
        })
        .select(1, 0);
    comparisons.push(Comparison::new(
        "features",
        max_error_over_rms(&features, &expect["feat"]),
        FEATURES,
    ));
    let double = Vit::load(&weights, config, Kind::Double, Device::Cpu)?.forward(&x);
    // DINOv2's positions are resampled in float32 whatever the network's precision.
    let tolerance = if config.layer_scale { 1e-6 } else { 1e-9 };
    comparisons.push(Comparison::new(
        "features in float64",
        max_error_over_rms(&double, &expect["feat_f64"]),
        tolerance,
    ));
    comparisons.extend(variants(&net, &weights, config, &x, &expect)?);
    Ok(comparisons)
}

/// Other sizes, other poolings, other position rules that a case carries.
fn variants(
    net: &Vit,
    weights: &Weights,
    config: VitConfig,
    x: &Tensor,
    expect: &HashMap<String, Tensor>,
) -> anyhow::Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for (name, input) in expect.iter().filter(|(name, _)| name.starts_with("x_")) {
        let size = &name[2..];
        let mut found = None;
        let features = net.tokens(input, &mut |name, value| {
            if name == "pos" {
                found = Some(value.shallow_clone());
            }
        });
        let positions = found.context("positions are traced")?;
        comparisons.push(Comparison::new(
            format!("positions at {size}"),
            max_abs_error(&positions, &expect[&format!("pos_{size}")]),
            POSITIONS,
        ));
        comparisons.push(Comparison::new(
            format!("features at {size}"),
            max_error_over_rms(&features.select(1, 0), &expect[&format!("feat_{size}")]),
            FEATURES,
        ));
    }
    if let Some(wanted) = expect.get("feat_timm_pos") {
        let other = VitConfig {
            interpolation: Interpolation::Antialias,
            ..config
        };
        let found = Vit::load(weights, other, Kind::Float, Device::Cpu)?.forward(x);
        comparisons.push(Comparison::new(
            "features with timm's positions",
            max_error_over_rms(&found, wanted),
            FEATURES,
        ));
        let grid = x.size()[2] / config.patch;
        let positions = resample(
            weights.get("pos_embed").context("pos_embed")?,
            grid,
            grid,
            Interpolation::Antialias,
        );
        comparisons.push(Comparison::new(
            "timm's positions",
            max_abs_error(&positions, &expect["pos_224_timm"]),
            POSITIONS,
        ));
    }
    if let Some(wanted) = expect.get("feat_meanpool") {
        let found = net.forward_mean(
            x,
            &expect["meanpool_fc_norm.weight"],
            &expect["meanpool_fc_norm.bias"],
        );
        comparisons.push(Comparison::new(
            "features by mean pooling",
            max_error_over_rms(&found, wanted),
            FEATURES,
        ));
    }
    for (name, wanted) in expect
        .iter()
        .filter(|(name, _)| name.starts_with("sincos_"))
    {
        let (rows, columns) = name["sincos_".len()..]
            .split('_')
            .next()
            .and_then(|size| size.split_once('x'))
            .context("a size in the name")?;
        let found = sin_cos(rows.parse()?, columns.parse()?, wanted.size()[2]);
        comparisons.push(Comparison::new(
            name.as_str(),
            max_abs_error(&found, wanted),
            POSITIONS,
        ));
        if wanted.size() == weights.get("pos_embed").context("pos_embed")?.size() {
            comparisons.push(Comparison::new(
                "the file's fixed positions",
                max_abs_error(&found, weights.get("pos_embed").context("pos_embed")?),
                POSITIONS,
            ));
        }
    }
    comparisons.sort_by(|a, b| a.what.cmp(&b.what));
    Ok(comparisons)
}

/// The cases `<rule>_<grid>_to_<rows>x<columns>`, each resized from `pos_<grid>`.
fn positions(tensors: &HashMap<String, Tensor>) -> anyhow::Result<Vec<Comparison>> {
    let mut names: Vec<&String> = tensors
        .keys()
        .filter(|name| name.contains("_to_"))
        .collect();
    names.sort();
    let one = |name: &String| {
        let (from, to) = name.split_once("_to_").context("a rule and a size")?;
        let (rule, grid) = from.rsplit_once('_').context("a rule and a grid")?;
        let (rows, columns) = to.split_once('x').context("rows and columns")?;
        let interpolation = if matches!(rule, "dino" | "dinov2") {
            Interpolation::Offset
        } else {
            Interpolation::Antialias
        };
        let source = tensors
            .get(&format!("pos_{grid}"))
            .with_context(|| format!("pos_{grid} is missing"))?;
        let found = resample(source, rows.parse()?, columns.parse()?, interpolation);
        Ok(Comparison::new(
            name.as_str(),
            max_abs_error(&found, &tensors[name]),
            POSITIONS,
        ))
    };
    names.into_iter().map(one).collect()
}

/// A published size with filled weights; the table beside it gives names and shapes.
fn full(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Vec<Comparison>> {
    let expect = fixture.tensors()?;
    let weights = listing.filled_weights()?;
    let patch = weights
        .get("patch_embed.proj.weight")
        .context("patch_embed.proj.weight")?
        .size();
    let grid =
        ((weights.get("pos_embed").context("pos_embed")?.size()[1] - 1) as f64).sqrt() as i64;
    let depth = weights
        .iter()
        .filter(|(name, _)| name.ends_with(".norm1.weight"))
        .count() as i64;
    let fc1 = weights
        .get("blocks.0.mlp.fc1.weight")
        .context("blocks.0.mlp.fc1.weight")?
        .size();
    // Published ViTs of this family have heads of 64.
    let base = VitConfig::dino(patch[0], depth, patch[0] / 64);
    let config = VitConfig {
        patch: patch[2],
        grid,
        feed_forward: FeedForward::Mlp {
            ratio: fc1[0] / fc1[1],
        },
        ..base
    };
    let x = listing.shared_input(grid * patch[2])?;
    let net = Vit::load(&weights, config, Kind::Float, Device::Cpu)?;
    let mut comparisons = Vec::new();
    let mut compare = |name: String, found: Tensor| {
        comparisons.extend(
            expect
                .get(&name)
                .map(|expect| Comparison::new(name, max_error_over_rms(&found, expect), FEATURES)),
        );
    };
    let tokens = net.tokens(&x, &mut |name, value| {
        compare(
            format!("{name}_mean"),
            value.mean_dim([1i64].as_slice(), false, None),
        );
        compare(format!("{name}_cls"), value.select(1, 0));
    });
    compare("feat".to_owned(), tokens.select(1, 0));
    drop(net);
    let double = Vit::load(&weights, config, Kind::Double, Device::Cpu)?.forward(&x);
    comparisons.push(Comparison::new(
        "feat in float64",
        max_error_over_rms(&double, &expect["feat_f64"]),
        1e-9,
    ));
    Ok(comparisons)
}

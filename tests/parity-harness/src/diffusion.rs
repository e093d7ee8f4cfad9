//! Fixtures of the diffusion model, recognised by `kind` (safetensors metadata) or by their
//! inventory columns (JSON).

mod augmentation;
mod inventory;
mod networks;
mod samplers;
mod tables;
mod trajectory;

use crate::fixture::{Comparison, Fixture, Verdict};
use anyhow::{Context, anyhow};
use cedm_diffusion::{Architecture, ImagePath, Network, Parameters};
use serde_json::Value;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// The two precisions that every case is checked in.
const KINDS: [(Kind, &str); 2] = [(Kind::Float, "f32"), (Kind::Double, "f64")];

/// Checks one file of this kind.
pub fn check(fixture: &Fixture) -> anyhow::Result<Verdict> {
    if fixture.extension() == "json" {
        return inventory::check(fixture);
    }
    let Some(kind) = fixture.meta.get("kind") else {
        return Ok(Verdict::NotRecognised);
    };
    let compare = match kind.as_str() {
        "net" => networks::forward,
        "loss" => networks::loss,
        "precond" => tables::preconditioning,
        "tables" => tables::schedules,
        "trajectory" => trajectory::check,
        "sampler" => samplers::check,
        "augment" => augmentation::combined_transforms,
        "augment_single" => augmentation::single_transforms,
        _ => return Ok(Verdict::NotRecognised),
    };
    Ok(Verdict::Checked(compare(fixture)?))
}

/// The tensors of a case.
struct Case(HashMap<String, Tensor>);

impl Case {
    fn open(fixture: &Fixture) -> anyhow::Result<Self> {
        Ok(Self(fixture.tensors()?))
    }
    fn get(&self, name: &str) -> anyhow::Result<&Tensor> {
        self.0
            .get(name)
            .ok_or_else(|| anyhow!("tensor {name} is missing"))
    }
    fn find(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }
    /// Tensors below a prefix, without it, sorted.
    fn below<'a>(&'a self, prefix: &str) -> Vec<(&'a str, &'a Tensor)> {
        let mut found: Vec<_> = self
            .0
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)))
            .collect();
        found.sort_by_key(|(name, _)| *name);
        found
    }
}

/// A network with stored weights.
struct Model {
    network: Network,
    parameters: Parameters,
    /// The reference's state dict, by name.
    state: HashMap<String, Tensor>,
}

impl Model {
    /// From `w/…` of this file, or of the sibling that `weights_file` names.
    fn open(fixture: &Fixture, case: &Case, kind: Kind) -> anyhow::Result<Self> {
        let config = fixture.json("config").context("metadata `config`")?;
        let network = Network::new(architecture(&config)?)?;
        let held;
        let weights = match fixture.meta.get("weights_file") {
            Some(name) => {
                held = Case(cedm_torch::tensor_files::read(
                    &fixture.sibling(name.trim_matches('"')),
                )?);
                held.below("w/")
            }
            None => case.below("w/"),
        };
        let weights: HashMap<String, Tensor> = weights
            .into_iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()))
            .collect();
        let parameters =
            Parameters::from_tensors(&network.layout, &weights, "fixture", kind, Device::Cpu)?;
        Ok(Self {
            network,
            parameters,
            state: weights,
        })
    }
}

/// The architecture of upstream constructor arguments; absent ones have upstream's defaults.
fn architecture(config: &Value) -> anyhow::Result<Architecture> {
    let integer = |name: &str, default: Option<i64>| {
        config[name]
            .as_i64()
            .or(default)
            .with_context(|| format!("config.{name}"))
    };
    let integers = |name: &str, default: &[i64]| -> Vec<i64> {
        config[name].as_array().map_or(default.to_vec(), |list| {
            list.iter().filter_map(Value::as_i64).collect()
        })
    };
    let text =
        |name: &str, default: &'static str| config[name].as_str().unwrap_or(default).to_owned();
    anyhow::ensure!(
        text("model_type", "SongUNet") == "SongUNet",
        "model_type {} is not built here",
        config["model_type"]
    );
    let encoder = match text("encoder_type", "standard").as_str() {
        "standard" => ImagePath::None,
        "skip" => ImagePath::Skip,
        "residual" => ImagePath::Residual,
        other => anyhow::bail!("encoder_type {other} is not built here"),
    };
    let skip_decoder = match text("decoder_type", "standard").as_str() {
        "standard" => false,
        "skip" => true,
        other => anyhow::bail!("decoder_type {other} is not built here"),
    };
    let filter = config["resample_filter"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_f64).collect());
    Ok(Architecture {
        resolution: integer("img_resolution", None)?,
        channels: integer("img_channels", None)?,
        label_dim: integer("label_dim", Some(0))?,
        augment_dim: integer("augment_dim", Some(0))?,
        model_channels: integer("model_channels", Some(128))?,
        channel_mult: integers("channel_mult", &[1, 2, 2, 2]),
        channel_mult_emb: integer("channel_mult_emb", Some(4))?,
        channel_mult_noise: integer("channel_mult_noise", Some(1))?,
        num_blocks: integer("num_blocks", Some(4))?,
        attn_resolutions: integers("attn_resolutions", &[16]),
        dropout: config["dropout"].as_f64().unwrap_or(0.1),
        label_dropout: config["label_dropout"].as_f64().unwrap_or(0.0),
        fourier: text("embedding_type", "positional") == "fourier",
        encoder,
        skip_decoder,
        resample_filter: filter.unwrap_or_else(|| vec![1.0, 1.0]),
        sigma_data: config["sigma_data"].as_f64().unwrap_or(0.5),
    })
}

fn double(tensor: &Tensor) -> Tensor {
    tensor.detach().to_kind(Kind::Double)
}
/// Largest absolute difference; infinite where shapes differ.
fn max_abs(found: &Tensor, expected: &Tensor) -> f64 {
    if found.size() != expected.size() {
        return f64::INFINITY;
    }
    (double(found) - double(expected))
        .abs()
        .max()
        .double_value(&[])
}
/// Norm of the difference over the norm of what is expected.
fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    if found.size() != expected.size() {
        return f64::INFINITY;
    }
    let expected = double(expected);
    ((double(found) - &expected).norm() / expected.norm().clamp_min(1e-300)).double_value(&[])
}
/// Largest relative difference of single numbers.
fn worst_relative(found: &Tensor, expected: &Tensor) -> f64 {
    if found.numel() != expected.numel() {
        return f64::INFINITY;
    }
    let (found, expected) = (
        double(found).flatten(0, -1),
        double(expected).flatten(0, -1),
    );
    let scale = expected.abs().clamp_min(1e-300);
    ((found - expected).abs() / scale).max().double_value(&[])
}
fn comparison(what: impl Into<String>, error: f64, tolerance: f64) -> Comparison {
    Comparison::new(what, error, tolerance)
}

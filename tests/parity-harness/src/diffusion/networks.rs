//! Forward passes with every module's output, and losses with their gradients.

use super::{Case, KINDS, Model, comparison, double, max_abs, relative, worst_relative};
use crate::fixture::{Comparison, Fixture};
use anyhow::Context;
use cedm_diffusion::{
    Labels, Mode, Network, Parameters,
    loss::{Noise, loss_map, normalise},
    precondition::{NoiseLevels, Preconditioning},
};
use std::collections::{BTreeMap, HashMap};
use tch::{Kind, Tensor};

/// A `net` fixture: the forward pass of one network.
pub fn forward(fixture: &Fixture) -> anyhow::Result<Vec<Comparison>> {
    let case = Case::open(fixture)?;
    let mut comparisons = Vec::new();
    for (kind, name) in KINDS {
        let Model {
            network,
            parameters,
            state,
        } = Model::open(fixture, &case, kind)?;
        if kind == Kind::Float {
            comparisons.push(written(&network, &parameters, &state)?);
        }
        let views = parameters.views(&network.layout, None);
        let as_kind = |name: &str| case.find(name).map(|tensor| tensor.to_kind(kind));
        let (x, sigma) = (
            case.get("x")?.to_kind(kind),
            case.get("sigma")?.to_kind(kind),
        );
        let (class, augment) = (as_kind("class_labels"), as_kind("augment_labels"));
        let both = Labels {
            class: class.as_ref(),
            augment: augment.as_ref(),
        };
        let denoise = |sigma: &Tensor, labels| {
            tch::no_grad(|| network.denoise(&views, &x, sigma, labels, Mode::EVAL))
        };

        let coefficients = Preconditioning {
            sigma_data: network.architecture.sigma_data,
        }
        .at(&sigma);
        let scaled = coefficients.c_in.reshape([-1, 1, 1, 1]) * &x;
        let mut seen = BTreeMap::new();
        let raw = tch::no_grad(|| {
            network.unet(
                &views,
                &scaled,
                &coefficients.c_noise,
                both,
                Mode::EVAL,
                &mut |module, output| {
                    seen.insert(module.to_owned(), probe(output));
                },
            )
        });
        let (raw_allowed, image_allowed) = if kind == Kind::Double {
            (1e-10, 1e-10)
        } else {
            (5e-5, 2e-5)
        };
        comparisons.push(comparison(
            format!("{name} F_x, max abs"),
            max_abs(&raw, case.get("F_x_f64")?),
            raw_allowed,
        ));
        comparisons.push(comparison(
            format!("{name} F_x, rel L2"),
            relative(&raw, case.get("F_x_f64")?),
            if kind == Kind::Double { 1e-12 } else { 1e-5 },
        ));
        comparisons.push(comparison(
            format!("{name} D_x, max abs"),
            max_abs(&denoise(&sigma, both), case.get("D_x_f64")?),
            image_allowed,
        ));
        let one = sigma.narrow(0, 1.min(sigma.size()[0] - 1), 1);
        let variants = [
            (
                "D_x_nolabel_f64",
                &sigma,
                Labels {
                    class: None,
                    ..both
                },
            ),
            (
                "D_x_noaug_f64",
                &sigma,
                Labels {
                    augment: None,
                    ..both
                },
            ),
            ("D_x_scalar_sigma_f64", &one, both),
        ];
        for (variant, sigma, labels) in variants {
            if let Some(expected) = case.find(variant) {
                comparisons.push(comparison(
                    format!("{name} {}, max abs", variant.trim_end_matches("_f64")),
                    max_abs(&denoise(sigma, labels), expected),
                    image_allowed,
                ));
            }
        }
        if kind == Kind::Float {
            comparisons.push(comparison(
                "f32 D_x against the reference's own f32, max abs",
                max_abs(&denoise(&sigma, both), case.get("D_x_f32")?),
                image_allowed,
            ));
        }
        let probes = case.below("probe/");
        let mut worst = (0.0f64, String::new());
        for (module, expected) in &probes {
            let found = seen
                .get(*module)
                .with_context(|| format!("module {module} is not in this network"))?;
            let error =
                max_abs(found, expected) / double(expected).abs().max().double_value(&[]).max(1.0);
            if error >= worst.0 {
                worst = (error, (*module).to_owned());
            }
        }
        if !probes.is_empty() {
            let allowed = if kind == Kind::Double { 1e-10 } else { 5e-5 };
            comparisons.push(comparison(
                format!("{name} {} modules, worst {}", probes.len(), worst.1),
                worst.0,
                allowed,
            ));
        }
    }
    Ok(comparisons)
}

/// Mean, RMS, and the values at floor(k · numel / 8), k = 0..7.
fn probe(output: &Tensor) -> Tensor {
    let flat = double(output).flatten(0, -1);
    let numel = flat.size()[0];
    let picks: Vec<i64> = (0..8).map(|k| k * numel / 8).collect();
    let head = Tensor::stack(
        &[
            flat.mean(Kind::Double),
            flat.square().mean(Kind::Double).sqrt(),
        ],
        0,
    );
    Tensor::cat(
        &[head, flat.index_select(0, &Tensor::from_slice(&picks))],
        0,
    )
}

/// What is written of a network is the reference's state dict: the same names, shapes and numbers,
/// so that its own class loads the file. The error counts tensors that differ.
fn written(
    network: &Network,
    parameters: &Parameters,
    state: &HashMap<String, Tensor>,
) -> anyhow::Result<Comparison> {
    let file = tempfile::NamedTempFile::new()?;
    cedm_diffusion::weights::save(file.path(), network, parameters)?;
    let written = cedm_torch::tensor_files::read(file.path())?;
    let same = |(name, tensor): &(&String, &Tensor)| {
        let other = written.get(*name);
        other.is_some_and(|other| {
            other.size() == tensor.size() && other.equal(&tensor.to_kind(Kind::Float))
        })
    };
    let differing = state.iter().filter(|pair| !same(pair)).count();
    let more = written
        .keys()
        .filter(|name| !state.contains_key(*name))
        .count();
    Ok(comparison(
        "tensors of the written file unlike the state dict".to_owned(),
        (differing + more) as f64,
        0.0,
    ))
}

/// A `loss` fixture: the EDM loss and its gradients.
pub fn loss(fixture: &Fixture) -> anyhow::Result<Vec<Comparison>> {
    let case = Case::open(fixture)?;
    let settings = fixture.json("loss").context("metadata `loss`")?;
    let number = |name: &str, default| settings[name].as_f64().unwrap_or(default);
    let levels = NoiseLevels {
        p_mean: number("P_mean", -1.2),
        p_std: number("P_std", 1.2),
    };
    let scaling: f64 = fixture
        .meta
        .get("loss_scaling")
        .and_then(|text| text.parse().ok())
        .unwrap_or(1.0);
    let mut comparisons = Vec::new();
    for (kind, name) in KINDS {
        let Model {
            network,
            mut parameters,
            ..
        } = Model::open(fixture, &case, kind)?;
        parameters.flat = parameters.flat.set_requires_grad(true);
        let views = parameters.views(&network.layout, None);
        let as_kind = |name: &str| case.find(name).map(|tensor| tensor.to_kind(kind));
        let images = normalise(case.get("images_u8")?, kind);
        let noise = Noise {
            rnd_normal: case.get("rnd_normal")?.to_kind(kind),
            unit: case.get("noise")?.to_kind(kind),
        };
        let (class, augment) = (as_kind("class_labels"), as_kind("augment_labels"));
        let labels = Labels {
            class: class.as_ref(),
            augment: augment.as_ref(),
        };
        let map = loss_map(
            &network,
            &views,
            &images,
            &noise,
            levels,
            labels,
            Mode::EVAL,
        );
        let batch = images.size()[0] as f64;
        (map.sum(kind) * (scaling / batch)).backward();
        let gradient = parameters.flat.grad();

        let exact = kind == Kind::Double;
        let pick = |tight: f64, loose: f64| if exact { tight } else { loose };
        comparisons.push(comparison(
            format!("{name} loss map, rel L2"),
            relative(&map, case.get("loss_map_f64")?),
            pick(1e-9, 1e-5),
        ));
        let mean = double(&map).mean(Kind::Double);
        comparisons.push(comparison(
            format!("{name} loss mean, rel"),
            worst_relative(&mean, case.get("loss_mean_f64")?),
            pick(1e-9, 1e-5),
        ));
        let sum = double(&map).sum(Kind::Double) / batch;
        comparisons.push(comparison(
            format!("{name} loss sum over batch, rel"),
            worst_relative(&sum, case.get("loss_sum_over_batch_f64")?),
            pick(1e-9, 1e-5),
        ));

        let pieces = parameters.split(&network.layout, &gradient);
        let by_name: BTreeMap<&str, &Tensor> = network
            .layout
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .zip(&pieces)
            .collect();
        let find = |parameter: &str| {
            by_name
                .get(parameter)
                .copied()
                .with_context(|| format!("parameter {parameter}"))
        };
        let mut worst = 0.0f64;
        for (parameter, expected) in case.below("grad_f64/") {
            worst = worst.max(relative(find(parameter)?, expected));
        }
        comparisons.push(comparison(
            format!("{name} stored gradients, rel L2"),
            worst,
            pick(1e-9, 1e-4),
        ));
        let (mut worst, mut count) = (0.0f64, 0);
        let total = case.get("gradnorm_total_f64")?;
        // A gradient that is 0 in exact arithmetic (of key biases) consists of rounding errors: its
        // error is taken relative to the norm of all gradients.
        let floor = 1e-9 * total.double_value(&[0]);
        for (parameter, expected) in case.below("gradnorm_f64/") {
            let (found, expected) = (
                double(find(parameter)?).norm().double_value(&[]),
                expected.double_value(&[0]),
            );
            worst = worst.max((found - expected).abs() / expected.max(floor));
            count += 1;
        }
        comparisons.push(comparison(
            format!("{name} gradient norms of {count} parameters, rel"),
            worst,
            pick(1e-9, 1e-4),
        ));
        comparisons.push(comparison(
            format!("{name} total gradient norm, rel"),
            worst_relative(&double(&gradient).norm(), total),
            pick(1e-9, 1e-5),
        ));
    }
    Ok(comparisons)
}

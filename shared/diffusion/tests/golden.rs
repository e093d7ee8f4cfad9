//! The golden numbers of the specification's appendix C: network, embedding, time grid, solver,
//! augmentation.

use cedm_contract::kinds::sample::{SamplerParams, Solver};
use cedm_diffusion::{
    Architecture, ImagePath, Labels, Mode, Network, Parameters,
    augment::{AugmentPipe, Draws, Transform},
    layout::{Fill, Layout},
    network::positional_features,
    sampler::{solve, time_steps},
};
use serde_json::Value;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

fn golden(entry: &str) -> Value {
    serde_json::from_str::<Value>(include_str!("golden.json")).unwrap()[entry].clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

/// sin(f · flat index) in the given shape, as float32.
fn waves(factor: f64, shape: &[i64]) -> Tensor {
    let flat = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
    (flat * factor).sin().to_kind(Kind::Float).view(shape)
}

/// First six and last three values, mean and mean absolute value.
fn agrees(found: &Tensor, expect: &Value, tolerance: f64) {
    let values = Vec::<f64>::try_from(found.to_kind(Kind::Double).flatten(0, -1)).unwrap();
    let near = |found: f64, expected: f64, what: &str| {
        assert!(
            (found - expected).abs() <= tolerance,
            "{what}: {found} instead of {expected}"
        )
    };
    for (index, expected) in numbers(&expect["first"]).into_iter().enumerate() {
        near(values[index], expected, "first");
    }
    for (index, expected) in numbers(&expect["last"]).into_iter().rev().enumerate() {
        near(values[values.len() - 1 - index], expected, "last");
    }
    near(
        values.iter().sum::<f64>() / values.len() as f64,
        expect["mean"].as_f64().unwrap(),
        "mean",
    );
    near(
        values.iter().map(|v| v.abs()).sum::<f64>() / values.len() as f64,
        expect["abs_mean"].as_f64().unwrap(),
        "abs_mean",
    );
}

/// amp · sin(1 + j + 0.37 i), j the place of the name in byte order; norm weights add 1, filters
/// stay.
fn filled(layout: &Layout, amplitude: f64) -> HashMap<String, Tensor> {
    let mut entries: Vec<_> = layout.entries.iter().collect();
    entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    let fill = |(j, entry): (usize, &&cedm_diffusion::layout::Entry)| {
        let flat = Tensor::arange(entry.numel(), (Kind::Double, Device::Cpu));
        let wave = (flat * 0.37 + (1.0 + j as f64)).sin() * amplitude;
        let tensor = match entry.fill {
            Fill::ResampleFilter => {
                Tensor::full([entry.numel()], 0.25, (Kind::Double, Device::Cpu))
            }
            Fill::Ones => wave + 1.0,
            _ => wave,
        };
        (
            entry.name.clone(),
            tensor.to_kind(Kind::Float).view(entry.shape.as_slice()),
        )
    };
    entries.iter().enumerate().map(fill).collect()
}

#[test]
fn the_tiny_network_matches_the_golden_outputs() {
    let golden = golden("edm_tiny");
    let network = Network::new(Architecture {
        resolution: 16,
        channels: 3,
        label_dim: 3,
        augment_dim: 9,
        model_channels: 32,
        channel_mult: vec![1, 2],
        channel_mult_emb: 4,
        channel_mult_noise: 1,
        num_blocks: 1,
        attn_resolutions: vec![8],
        dropout: 0.0,
        label_dropout: 0.0,
        fourier: false,
        encoder: ImagePath::None,
        skip_decoder: false,
        resample_filter: vec![1.0, 1.0],
        sigma_data: 0.5,
    })
    .unwrap();
    let expected = golden["keys_shapes"].as_object().unwrap();
    let found: HashMap<&str, &[i64]> = network
        .layout
        .entries
        .iter()
        .map(|e| (e.name.as_str(), e.shape.as_slice()))
        .collect();
    assert_eq!(found.len(), expected.len());
    for (name, shape) in expected {
        assert_eq!(
            found[name.as_str()],
            numbers(shape)
                .iter()
                .map(|&side| side as i64)
                .collect::<Vec<_>>(),
            "{name}"
        );
    }
    let weights = Parameters::from_tensors(
        &network.layout,
        &filled(&network.layout, 0.2),
        "fill rule",
        Kind::Float,
        Device::Cpu,
    )
    .unwrap();
    let views = weights.views(&network.layout, None);
    let (x, sigma) = (
        waves(0.1, &[2, 3, 16, 16]),
        Tensor::from_slice(&[0.5f32, 2.0]),
    );
    let class = Tensor::from_slice(&[1f32, 0.0, 0.0, 0.0, 0.0, 1.0]).view([2, 3]);
    let augment = waves(0.3, &[2, 9]);
    let denoise = |class, augment| {
        tch::no_grad(|| network.denoise(&views, &x, &sigma, Labels { class, augment }, Mode::EVAL))
    };
    agrees(
        &denoise(Some(&class), Some(&augment)),
        &golden["D_with_aug"],
        1e-4,
    );
    agrees(&denoise(Some(&class), None), &golden["D_no_aug"], 1e-4);
    agrees(&denoise(None, None), &golden["D_null_label"], 1e-4);
}

#[test]
fn published_presets_have_the_published_sizes() {
    use cedm_sweep::preset;
    let count = |name: &str, label_dim: u32| {
        let mut spec = preset(name).unwrap().network;
        spec.label_dim = label_dim;
        Network::new(Architecture::try_from(&spec).unwrap())
            .unwrap()
            .layout
            .parameter_count()
    };
    assert_eq!(count("cifar10", 0), 55_733_891);
    assert_eq!(count("cifar10", 100), 55_746_819);
    assert_eq!(count("cifar100", 10), 55_735_299);
    assert_eq!(count("ffhq64", 0), 61_805_571);
    assert_eq!(count("afhq64", 0), 61_805_571);
    assert_eq!(count("ffhq64", 400), 61_856_899);
    assert_eq!(count("ffhq128", 400), 61_856_899);
}

#[test]
fn a_fresh_network_is_nearly_c_skip_alone() {
    let spec = cedm_sweep::preset("tiny8").unwrap().network;
    let network = Network::new(Architecture::try_from(&spec).unwrap()).unwrap();
    let architecture = &network.architecture;
    let filter = &architecture.resample_filter;
    let weights = Parameters::initial(&network.layout, filter, 3, Device::Cpu);
    let views = weights.views(&network.layout, None);
    let side = architecture.resolution;
    let x = waves(0.1, &[2, architecture.channels, side, side]);
    let sigma = Tensor::from_slice(&[0.5f32, 2.0]);
    let labels = Labels {
        class: None,
        augment: None,
    };
    let found = tch::no_grad(|| network.denoise(&views, &x, &sigma, labels, Mode::EVAL));
    let c_skip = Tensor::from_slice(&[0.25f32 / 0.5, 0.25 / 4.25]).view([2, 1, 1, 1]);
    let difference = (found - x * c_skip).abs().max().double_value(&[]);
    assert!(difference > 0.0 && difference < 1e-4, "{difference}");
}

#[test]
fn the_positional_embedding_matches_the_golden_values() {
    let golden = golden("pos_embedding_8ch_noise0.5");
    let found = positional_features(&Tensor::from_slice(&[0.5f32]), 8);
    let swapped = found.reshape([1, 2, 4]).flip(1).flatten(0, -1);
    for (found, expected) in [
        (found.flatten(0, -1), "before_swap"),
        (swapped, "after_swap"),
    ] {
        let error = (found.to_kind(Kind::Double) - Tensor::from_slice(&numbers(&golden[expected])))
            .abs()
            .max()
            .double_value(&[]);
        assert!(error < 1e-6, "{expected}: {error}");
    }
}

#[test]
fn time_steps_match_the_golden_values() {
    let expect = |steps: u32, entry: &str| {
        let times = time_steps(&SamplerParams {
            steps,
            ..SamplerParams::default()
        });
        assert_eq!(
            (times.len(), times.last()),
            (steps as usize + 1, Some(&0.0))
        );
        for (found, expected) in times.iter().zip(numbers(&golden(entry))) {
            assert!(
                (found / expected - 1.0).abs() < 1e-13,
                "{found} instead of {expected}"
            );
        }
    };
    expect(18, "t_steps_18");
    expect(40, "t_steps_40_first5");
}

#[test]
fn heun_on_a_gaussian_matches_the_golden_solution() {
    let latents = Tensor::from_slice(&[1f32]).view([1, 1, 1, 1]);
    let mut denoise = |x: &Tensor, t: f64| x * (0.25 / (0.25 + t * t));
    let mut run = |params: SamplerParams| {
        solve(
            &params,
            &latents,
            &mut denoise,
            &mut |_| unreachable!(),
            &mut |_| (),
        )
    };
    let found = run(SamplerParams::default());
    assert_eq!(found.kind(), Kind::Double);
    let expected = golden("heun18_scalar_gaussian_sd0.5_latent1")
        .as_f64()
        .unwrap();
    assert!((found.double_value(&[0, 0, 0, 0]) - expected).abs() < 1e-12);
    // With more steps both solvers meet the exact answer of the differential equation: 0.5 · 80 /
    // √(0.25 + 80²).
    let exact = 0.5 * 80.0 / (0.25f64 + 6400.0).sqrt();
    let fine = |solver, steps| SamplerParams {
        solver,
        steps,
        ..SamplerParams::default()
    };
    let heun = (run(fine(Solver::Heun, 200)).double_value(&[0, 0, 0, 0]) - exact).abs();
    let euler = (run(fine(Solver::Euler, 200)).double_value(&[0, 0, 0, 0]) - exact).abs();
    assert!(
        heun < 1e-3 && heun < euler && euler < 0.1,
        "heun {heun}, euler {euler}"
    );
}

#[test]
fn augmentation_with_prescribed_draws_matches_the_golden_values() {
    let golden = golden("augment_fixed");
    let ones = |transform: Transform| {
        (
            transform,
            if transform == Transform::Xflip {
                1e8
            } else {
                1.0
            },
        )
    };
    let pipe = AugmentPipe {
        p: 0.12,
        multipliers: Transform::TRAINING.map(ones).to_vec(),
        ..AugmentPipe::default()
    };
    let open = [0.05f32, 0.05];
    let mut raw = HashMap::new();
    let mut put =
        |name: &str, values: &[f32]| drop(raw.insert(name.to_owned(), Tensor::from_slice(values)));
    for transform in ["xflip", "scale", "rotate_frac", "aniso", "translate_frac"] {
        put(&format!("{transform}.u_gate"), &open);
    }
    put("yflip.u_gate", &[0.05, 0.5]);
    put("scale.n", &[0.7, -1.1]);
    put("rotate_frac.u", &[0.6, 0.3]);
    put("aniso.n", &[0.5, -0.8]);
    put("aniso.u_angle", &[0.8, 0.1]);
    put("aniso.u_rotate_gate", &[0.2, 0.9]);
    raw.insert("xflip.i".into(), Tensor::from_slice(&[1i64, 0]));
    raw.insert("yflip.i".into(), Tensor::from_slice(&[1i64, 1]));
    raw.insert(
        "translate_frac.n".into(),
        Tensor::from_slice(&[0.4f32, -0.3, 0.2, 0.6]).view([2, 2]),
    );
    let found = pipe.apply(&waves(0.07, &[2, 3, 16, 16]), &Draws { raw });
    agrees(&found.images, &golden["out"], 1e-4);
    let labels = Vec::<f64>::try_from(found.labels.to_kind(Kind::Double).flatten(0, -1)).unwrap();
    let expected: Vec<f64> = golden["labels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(numbers)
        .collect();
    for (found, expected) in labels.iter().zip(expected) {
        assert!((found - expected).abs() < 2e-6, "{labels:?}");
    }
}

#[test]
fn closed_gates_leave_images_unchanged() {
    let pipe = AugmentPipe {
        p: 1e-12,
        multipliers: Transform::TRAINING
            .map(|transform| (transform, 1.0))
            .to_vec(),
        ..AugmentPipe::default()
    };
    tch::manual_seed(5);
    let images = Tensor::rand([3, 1, 8, 8], (Kind::Float, Device::Cpu)) * 2.0 - 1.0;
    let found = pipe.apply(
        &images,
        &Draws::fresh(Transform::TRAINING.into_iter(), 3, Device::Cpu),
    );
    assert!((found.images - &images).abs().max().double_value(&[]) < 1e-5);
    assert_eq!(found.labels.abs().max().double_value(&[]), 0.0);
}

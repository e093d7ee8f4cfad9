//! Golden numbers of the whole network with filled weights.

use super::*;
use crate::testing::{Summary, agrees};

/// The golden rule for this network: sin(1 + j + 0.37 i), scaled by √(2 / fan-in) where there is
/// one, by 0.05 elsewhere; j counts `num_batches_tracked` too.
fn filled() -> Weights {
    let mut shapes = Inception::blueprint();
    let counters: Vec<_> = shapes
        .iter()
        .filter_map(|(name, _)| {
            Some((
                format!("{}.num_batches_tracked", name.strip_suffix(".running_var")?),
                vec![],
            ))
        })
        .collect();
    shapes.extend(counters);
    shapes.sort();
    assert_eq!(shapes.len(), 566);
    let one = |(j, (name, shape)): (usize, (String, Vec<i64>))| {
        let count: i64 = shape.iter().product();
        let wave =
            (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.37 + (1 + j) as f64).sin();
        let value = match name.rsplit('.').next() {
            Some("num_batches_tracked") => wave * 0.0,
            _ if shape.len() > 1 => wave * (2.0 * shape[0] as f64 / count as f64).sqrt(),
            Some("running_var") => (wave * 0.05).abs() + 1.0,
            Some("weight") => wave * 0.05 + 1.0,
            _ => wave * 0.05,
        };
        (name, value.to_kind(Kind::Float).reshape(shape))
    };
    shapes.into_iter().enumerate().map(one).collect()
}

#[test]
fn features_and_logits_are_golden() {
    let net = Inception::load(&filled(), Kind::Float, Device::Cpu).unwrap();
    let images =
        ((Tensor::arange(2 * 3 * 32 * 32, (Kind::Double, Device::Cpu)) * 0.11).sin() + 1.0) * 127.5;
    let images = images.trunc().to_kind(Kind::Uint8).reshape([2, 3, 32, 32]);
    assert_eq!(
        Vec::<u8>::try_from(images.view([-1]).narrow(0, 0, 8)).unwrap(),
        [127, 141, 155, 168, 181, 194, 205, 216]
    );
    let features = net.forward(&images);
    agrees(
        &features,
        &Summary {
            first: [0.0, 0.4096613, 0.0, 0.1137385, 0.1629646, 0.0],
            last: [0.0, 0.0, 0.3056852],
            mean: 0.047371643396165286,
            abs_mean: 0.047371643396165286,
        },
        5e-6,
    );
    agrees(
        &net.logits_unbiased(&features),
        &Summary {
            first: [
                0.0714787, -0.2224234, 0.2863458, -0.2382365, 0.096918, 0.0823193,
            ],
            last: [0.274747, -0.1724235, 0.0026399],
            mean: -5.539047988205557e-05,
            abs_mean: 0.1824115337827058,
        },
        5e-6,
    );
    assert!(
        (net.logits(&features) - net.logits_unbiased(&features) - &net.fc_bias)
            .abs()
            .max()
            .double_value(&[])
            < 1e-6
    );
}

#[test]
fn grey_images_are_repeated() {
    let net = Inception::load(&filled(), Kind::Float, Device::Cpu).unwrap();
    let grey = Tensor::arange(64, (Kind::Uint8, Device::Cpu)).reshape([1, 1, 8, 8]);
    assert!(
        net.forward(&grey)
            .equal(&net.forward(&grey.repeat([1, 3, 1, 1])))
    );
}

#[test]
fn each_resize_rule_gives_its_own_input() {
    let net = Inception::load(&filled(), Kind::Float, Device::Cpu).unwrap();
    let grey = Tensor::arange(64, (Kind::Uint8, Device::Cpu)).reshape([1, 1, 8, 8]) * 4;
    let read = |rule: resize::Rule| rule.scaled(&grey, &net.rgb(&grey)).unwrap();
    let tensorflow = read(resize::Rule::Tensorflow);
    for rule in [
        resize::Rule::Tensorflow,
        resize::Rule::PytorchFid,
        resize::Rule::CleanFid,
    ] {
        let scaled = read(rule);
        assert_eq!(scaled.size(), [1, 3, 299, 299]);
        let apart = (&scaled - &tensorflow).abs().max().double_value(&[]);
        assert_eq!(
            apart > 1e-2,
            rule != resize::Rule::Tensorflow,
            "{rule:?}: {apart}"
        );
        // The filled weights see little of an image: what the network reads is held, not what it
        // makes of it.
        let features = net.forward_by(rule, &grey).unwrap();
        assert!(
            features.equal(&net.features(&scaled, &mut |_, _| {})),
            "{rule:?}"
        );
    }
    assert!(
        net.forward_by(resize::Rule::Tensorflow, &grey)
            .unwrap()
            .equal(&net.forward(&grey))
    );
}

#[test]
fn tensorflows_bilinear_has_no_half_pixel() {
    let x = Tensor::from_slice(&[0f32, 10.0, 20.0]).reshape([1, 1, 1, 3]);
    let out = resize::along(&x, 3, 3, 6);
    assert_eq!(
        Vec::<f32>::try_from(out.view([-1])).unwrap(),
        [0.0, 5.0, 10.0, 15.0, 20.0, 20.0]
    );
}

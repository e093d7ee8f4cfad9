//! Golden numbers of a tiny image tower.

use super::*;
use crate::testing::{Summary, agrees, filled, waves};

#[test]
fn a_tiny_image_tower_gives_golden_embeddings() {
    let config = VisionConfig {
        image: 28,
        patch: 14,
        width: 16,
        layers: 2,
        head_width: 8,
        mlp_width: 64,
        embed_dim: 8,
        activation: Activation::Gelu,
    };
    let weights = filled(ClipVision::blueprint(config));
    let x = waves(&[2, 3, 28, 28]);
    let net = ClipVision::load(&weights, config, Kind::Float, Device::Cpu).unwrap();
    let expect = Summary {
        first: [
            0.0398774, 0.0327323, 0.0211571, 0.0067183, -0.0086297, -0.0228098,
        ],
        last: [-0.0232868, -0.0345788, -0.0411907],
        mean: -0.0006810633931308985,
        abs_mean: 0.026024975813925266,
    };
    agrees(&net.forward(&x, &mut |_, _| {}), &expect, 1e-6);

    let whole = weights.renamed(|name| Some(format!("visual.{name}")));
    let again = ClipVision::load(&whole, config, Kind::Float, Device::Cpu).unwrap();
    assert!(
        again
            .forward(&x, &mut |_, _| {})
            .equal(&net.forward(&x, &mut |_, _| {}))
    );
}

#[test]
fn precomputed_text_embeddings_are_averaged_by_class() {
    let rows = Tensor::from_slice(&[3.0f32, 0.0, 1.0, 1.0, 0.0, 2.0, -1.0, 1.0]).reshape([4, 2]);
    let found = classifier_from(&rows, 2).unwrap();
    // (1, 0) and (1, 1)/√2 lie 22.5° on either side of their mean; so do (0, 1) and (−1, 1)/√2.
    let (near, far) = (
        (std::f64::consts::PI / 8.0).cos(),
        (std::f64::consts::PI / 8.0).sin(),
    );
    for (at, expect) in [
        ([0, 0], near),
        ([1, 0], far),
        ([0, 1], -far),
        ([1, 1], near),
    ] {
        assert!((found.double_value(&at) - expect).abs() < 1e-6, "{at:?}");
    }
    let shown = zero_shot(
        &Tensor::from_slice(&[2.0f32, 0.1, -0.1, 0.5]).reshape([2, 2]),
        &found,
    );
    assert_eq!(Vec::<i64>::try_from(&shown.labels).unwrap(), [0, 1]);
    assert!(
        classifier_from(&rows, 3)
            .unwrap_err()
            .to_string()
            .contains("[4, 2] for 3 classes")
    );
}

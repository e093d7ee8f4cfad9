//! Golden numbers of a tiny image tower.

use super::*;
use crate::testing::{Summary, agrees, filled, waves};

#[test]
fn a_tiny_image_tower() {
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
        first: [0.0398774, 0.0327323, 0.0211571, 0.0067183, -0.0086297, -0.0228098],
        last: [-0.0232868, -0.0345788, -0.0411907],
        mean: -0.0006810633931308985,
        abs_mean: 0.026024975813925266,
    };
    agrees(&net.forward(&x, &mut |_, _| {}), &expect, 1e-6);

    let whole = weights.renamed(|name| Some(format!("visual.{name}")));
    let again = ClipVision::load(&whole, config, Kind::Float, Device::Cpu).unwrap();
    assert!(again.forward(&x, &mut |_, _| {}).equal(&net.forward(&x, &mut |_, _| {})));
}

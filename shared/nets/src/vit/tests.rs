//! Golden numbers of tiny transformers.

use super::*;
use crate::testing::{Summary, agrees, filled, waves};

const TINY: VitConfig = VitConfig {
    patch: 8,
    grid: 4,
    ..VitConfig::dino(16, 2, 2)
};
const SWIGLU: VitConfig = VitConfig {
    grid: 5,
    ..VitConfig::dinov2(16, 2, 2, FeedForward::SwiGlu)
};

#[test]
fn a_tiny_vit_gives_golden_features() {
    let net = Vit::load(
        &filled(Vit::blueprint(TINY)),
        TINY,
        Kind::Float,
        Device::Cpu,
    )
    .unwrap();
    let expect = Summary {
        first: [
            0.5762661, -0.5826986, 0.9805833, 2.1786382, 0.728416, -1.0205286,
        ],
        last: [-0.5236196, -1.3503829, 0.6658325],
        mean: 0.01903304224833846,
        abs_mean: 0.8881811513565481,
    };
    agrees(&net.forward(&waves(&[2, 3, 32, 32])), &expect, 2e-6);
}

#[test]
fn a_tiny_dinov2_gives_golden_features() {
    // The mask token has a place in the order of names.
    let mut shapes = Vit::blueprint(SWIGLU);
    shapes.push(("mask_token".to_owned(), vec![1, 16]));
    let net = Vit::load(&filled(shapes), SWIGLU, Kind::Float, Device::Cpu).unwrap();
    assert_eq!(SWIGLU.hidden(), 48);
    let expect = Summary {
        first: [
            -0.2006387, -0.721745, -0.5257416, 0.8366337, 2.3534446, 2.5673006,
        ],
        last: [-1.5252103, -1.4006811, -0.7143591],
        mean: 0.0781960494350642,
        abs_mean: 0.884813605574891,
    };
    agrees(&net.forward(&waves(&[2, 3, 42, 42])), &expect, 5e-6);
}

#[test]
fn positions_are_resampled_with_the_offset() {
    let grid = (Tensor::arange(37 * 37 * 2, (Kind::Double, Device::Cpu)) * 0.01)
        .sin()
        .reshape([1, 37 * 37, 2])
        .to_kind(Kind::Float);
    let all = Tensor::cat(
        &[Tensor::zeros([1, 1, 2], (Kind::Float, Device::Cpu)), grid],
        1,
    );
    let out = positions::resample(&all, 16, 16, Interpolation::Offset)
        .narrow(1, 1, 256)
        .transpose(1, 2);
    let expect = Summary {
        first: [
            0.4233867, 0.4652196, 0.5059776, 0.5434992, 0.5802858, 0.6178001,
        ],
        last: [0.9963964, 0.9983993, 0.9983072],
        mean: 0.044663955899295615,
        abs_mean: 0.6595229637152897,
    };
    agrees(&out, &expect, 1e-6);
    assert!(positions::resample(&all, 37, 37, Interpolation::Offset).equal(&all));
}

#[test]
fn chunked_block_names_are_accepted() {
    let weights = filled(Vit::blueprint(TINY));
    let chunked = weights.renamed(|name| {
        Some(
            name.replace("blocks.1.", "blocks.0.1.")
                .replace("blocks.0.norm", "blocks.0.0.norm"),
        )
    });
    let x = waves(&[1, 3, 32, 32]);
    let nets = [&weights, &chunked].map(|weights| {
        Vit::load(weights, TINY, Kind::Float, Device::Cpu)
            .unwrap()
            .forward(&x)
    });
    assert!(nets[0].equal(&nets[1]));
}

#[test]
fn weights_of_another_size_are_refused_with_names_and_shapes() {
    let error = Vit::load(
        &filled(Vit::blueprint(TINY)),
        SWIGLU,
        Kind::Float,
        Device::Cpu,
    )
    .err()
    .unwrap()
    .to_string();
    for part in [
        "a ViT of width 16, 2 blocks, patch 14",
        "4 missing (blocks.0.ls1.gamma",
        "8 of another shape",
        "pos_embed: [1, 17, 16] instead of [1, 26, 16]",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

//! A float16 overflow in a decoder block: the decoder continues in float32 from that block.

use super::*;
use cedm_diffusion::{Labels, Mode};

/// Weights with which block `name` outputs numbers that float16 cannot represent; the norm after it
/// brings them back into range.
fn overflowing_weights(network: &Network, name: &str) -> Parameters {
    let weights = Parameters::initial(&network.layout, &[1.0, 1.0], 5, Device::Cpu);
    let tensors = weights.tensors(&network.layout);
    let at = network
        .layout
        .entries
        .iter()
        .position(|entry| entry.name == format!("{name}.skip.bias"));
    let _ = tensors[at.expect("the block has a skip convolution")]
        .shallow_clone()
        .fill_(2e5);
    weights
}

#[test]
fn a_block_beyond_float16_is_computed_again_in_float32() {
    let _guard = lock_generator();
    let network = Network::new(Architecture::try_from(&recipe(8, 0.0).network).unwrap()).unwrap();
    let x = (Tensor::arange(2 * 64, (Kind::Float, Device::Cpu)) * 1.7)
        .sin()
        .view([2, 1, 8, 8]);
    let class = Tensor::eye(3, (Kind::Float, Device::Cpu)).narrow(0, 0, 2);
    let run = |weights: &Parameters, activations: Option<Kind>| {
        let labels = Labels {
            class: Some(&class),
            augment: None,
        };
        let mode = Mode {
            activations,
            ..Mode::EVAL
        };
        let views = weights.views(&network.layout, activations);
        let (mut kinds, noise) = (Vec::new(), Tensor::zeros([2], (Kind::Float, Device::Cpu)));
        let mut tap = |name: &str, seen: &Tensor| kinds.push((name.to_owned(), seen.kind()));
        let out = tch::no_grad(|| network.unet(&views, &x, &noise, labels, mode, &mut tap));
        (out, kinds)
    };
    let quiet = Parameters::initial(&network.layout, &[1.0, 1.0], 5, Device::Cpu);
    assert_eq!(
        run(&quiet, Some(Kind::Half)).0.kind(),
        Kind::Half,
        "float16 stays where it is enough"
    );

    let block = "model.dec.4x4_block0";
    let weights = overflowing_weights(&network, block);
    let (single, _) = run(&weights, None);
    let (half, kinds) = run(&weights, Some(Kind::Half));
    assert_eq!(half.isfinite().all().int64_value(&[]), 1);
    let apart = ((&half.to_kind(Kind::Float) - &single).norm() / single.norm()).double_value(&[]);
    assert!(apart < 0.02, "{apart}");
    // The decoder was gone through twice: the second time counts.
    let from = kinds.iter().rposition(|(name, _)| name == block).unwrap();
    assert!(
        kinds[from..].iter().all(|(_, kind)| *kind == Kind::Float),
        "{kinds:?}"
    );
    assert_eq!(
        kinds[from - 1].1,
        Kind::Half,
        "what came before stays as it was"
    );
}

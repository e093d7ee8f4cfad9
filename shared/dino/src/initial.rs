//! Initial weights as DINO draws them, each tensor from a stream of its own.
//!
//! A stream is named by (seed, tensor name), never taken from libtorch's generator: that one is
//! shared by the whole process, and any other draw in it would change these weights.

use crate::random::tensor_stream;
use cedm_maths::draws::normals;
use cedm_nets::vit::{Vit, VitConfig};
use rand::Rng;
use tch::{Device, Kind, Tensor};

/// Standard deviation of linear layers, class token and positions. Upstream cuts the normal
/// distribution at ±2, which is a hundred deviations away and never happens.
const STD: f64 = 0.02;

/// Names, under `backbone.`, and initial values of a vision transformer.
pub(crate) fn initial_backbone(seed: u64, config: VitConfig) -> Vec<(String, Tensor)> {
    Vit::blueprint(config)
        .into_iter()
        .map(|(name, shape)| {
            let name = format!("backbone.{name}");
            let values = initial_tensor(seed, &name, &shape);
            (name, values)
        })
        .collect()
}

/// Names, under `head.`, and initial values of a head of three linear layers on features of width
/// `dim`; `widths` are hidden, bottleneck and out.
pub(crate) fn initial_head(seed: u64, dim: i64, widths: (u32, u32, u32)) -> Vec<(String, Tensor)> {
    let (hidden, bottleneck, out) = (
        i64::from(widths.0),
        i64::from(widths.1),
        i64::from(widths.2),
    );
    let mut shapes = Vec::new();
    for (at, (from, to)) in [(dim, hidden), (hidden, hidden), (hidden, bottleneck)]
        .into_iter()
        .enumerate()
    {
        // Activations without weights take the odd indices.
        let index = 2 * at;
        shapes.push((format!("head.mlp.{index}.weight"), vec![to, from]));
        shapes.push((format!("head.mlp.{index}.bias"), vec![to]));
    }
    shapes.push((LAST_LAYER.to_owned(), vec![out, bottleneck]));
    let mut head: Vec<(String, Tensor)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let values = initial_tensor(seed, &name, &shape);
            (name, values)
        })
        .collect();
    let ones = Tensor::ones([out, 1], (Kind::Float, Device::Cpu));
    head.push((LAST_LAYER_NORM.to_owned(), ones));
    head
}

/// Directions of the head's last layer.
pub(crate) const LAST_LAYER: &str = "head.last_layer.weight_v";
/// Row norms of the head's last layer.
pub(crate) const LAST_LAYER_NORM: &str = "head.last_layer.weight_g";

/// The tensor `name` of this shape: float32, on the CPU.
///
/// The patch projection and the head's last layer keep PyTorch's own U(−1/√fan_in, 1/√fan_in), as
/// upstream leaves them; other matrices are normal, factors of norms 1, biases 0.
fn initial_tensor(seed: u64, name: &str, shape: &[i64]) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    let mut rng = tensor_stream(seed, name);
    let count = shape.iter().product::<i64>() as usize;
    // For a convolution \[out, in, kh, kw\] the product of all but the first axis.
    let fan_in: i64 = shape.iter().skip(1).product();
    let values: Vec<f32> = if name.ends_with("patch_embed.proj.weight") || name == LAST_LAYER {
        let bound = 1.0 / (fan_in as f64).sqrt();
        (0..count)
            .map(|_| rng.random_range(-bound..bound) as f32)
            .collect()
    } else if shape.len() > 1 {
        normals(&mut rng, count, STD)
    } else if name.ends_with("weight") {
        return Tensor::ones(shape, options);
    } else {
        return Tensor::zeros(shape, options);
    };
    Tensor::from_slice(&values).reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_depends_on_seed_and_name_alone() {
        let draw = |seed, name: &str| initial_tensor(seed, name, &[40, 25]);
        let first = draw(3, "a.weight");
        let _ = (
            draw(9, "b.weight"),
            Tensor::rand([5], (Kind::Float, Device::Cpu)),
        );
        assert!(draw(3, "a.weight").equal(&first));
        assert!(!draw(4, "a.weight").equal(&first) && !draw(3, "b.weight").equal(&first));
    }

    #[test]
    fn each_kind_of_tensor_has_its_distribution() {
        let check = |name: &str, shape: &[i64], std: f64, largest: f64| {
            let drawn = initial_tensor(1, name, shape);
            let found = drawn.std(true).double_value(&[]);
            assert!(
                (found / std - 1.0).abs() < 0.03,
                "{name}: {found} instead of {std}"
            );
            assert!(drawn.mean(Kind::Float).double_value(&[]).abs() < 0.05 * std);
            assert!(drawn.abs().max().double_value(&[]) < largest, "{name}");
        };
        check("blocks.0.attn.qkv.weight", &[300, 100], 0.02, 0.12);
        // A uniform distribution on ±b has the deviation b / √3.
        check(
            "patch_embed.proj.weight",
            &[200, 3, 4, 4],
            1.0 / 12.0,
            1.0 / 48f64.sqrt(),
        );
        check(
            LAST_LAYER,
            &[100, 256],
            1.0 / 16.0 / 3f64.sqrt(),
            1.0 / 16.0,
        );
        let ones = Tensor::ones([3], (Kind::Float, Device::Cpu));
        assert!(initial_tensor(1, "norm.weight", &[3]).equal(&ones));
        let biases = initial_tensor(1, "norm.bias", &[3]);
        assert_eq!(biases.abs().max().double_value(&[]), 0.0);
    }
}

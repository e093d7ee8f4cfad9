//! Initial weights as DINO draws them, each tensor from a stream of its own.
//!
//! A stream is named by (seed, parameter name), never taken from libtorch's generator: that one is
//! shared by the whole process, and whoever draws beside us would change our weights.

use cedm_contract::Digest;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

/// Standard deviation of linear layers, class token and positions. Upstream cuts it at ±2, a
/// hundred deviations away.
const STD: f64 = 0.02;

/// The tensor `name` of this shape: float32, on the CPU.
///
/// The patch projection and the head's last layer keep PyTorch's own U(−1/√fan_in, 1/√fan_in), as
/// upstream leaves them; other weights are normal, factors of norms 1, biases 0.
pub fn fresh(seed: u64, name: &str, shape: &[i64]) -> Tensor {
    let options = (Kind::Float, Device::Cpu);
    let mut rng = stream(seed, name);
    let count = shape.iter().product::<i64>() as usize;
    let fan_in: i64 = shape.iter().skip(1).product();
    let values: Vec<f32> =
        if name.ends_with("patch_embed.proj.weight") || name == "head.last_layer.weight_v" {
            let bound = 1.0 / (fan_in as f64).sqrt();
            (0..count)
                .map(|_| rng.random_range(-bound..bound) as f32)
                .collect()
        } else if shape.len() > 1 {
            normal(&mut rng, count)
        } else if name.ends_with("weight") {
            return Tensor::ones(shape, options);
        } else {
            return Tensor::zeros(shape, options);
        };
    Tensor::from_slice(&values).reshape(shape)
}

fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let digest = Digest::of(format!("{seed} {name}").as_bytes());
    let mut key = [0u8; 32];
    for (byte, pair) in key
        .iter_mut()
        .zip(digest.as_str().as_bytes().chunks_exact(2))
    {
        let text = std::str::from_utf8(pair).expect("invariant: digests are hexadecimal");
        *byte = u8::from_str_radix(text, 16).expect("invariant: digests are hexadecimal");
    }
    ChaCha8Rng::from_seed(key)
}

/// Normal values with deviation [`STD`], two from each pair of uniform ones (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // 1 − u is never 0, so the logarithm is finite.
        let (radius, angle) = (
            (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * STD,
            rng.random::<f64>() * std::f64::consts::TAU,
        );
        values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
    }
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_depends_on_seed_and_name_alone() {
        let draw = |seed, name: &str| fresh(seed, name, &[40, 25]);
        let first = draw(3, "a.weight");
        let _ = (
            draw(9, "b.weight"),
            Tensor::rand([5], (Kind::Float, Device::Cpu)),
        );
        assert!(draw(3, "a.weight").equal(&first));
        assert!(!draw(4, "a.weight").equal(&first) && !draw(3, "b.weight").equal(&first));
    }

    #[test]
    fn values_are_spread_as_they_should_be() {
        let check = |name: &str, shape: &[i64], std: f64, largest: f64| {
            let drawn = fresh(1, name, shape);
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
            "head.last_layer.weight_v",
            &[100, 256],
            1.0 / 16.0 / 3f64.sqrt(),
            1.0 / 16.0,
        );
        assert!(
            fresh(1, "norm.weight", &[3]).equal(&Tensor::ones([3], (Kind::Float, Device::Cpu)))
        );
        assert_eq!(
            fresh(1, "norm.bias", &[3]).abs().max().double_value(&[]),
            0.0
        );
    }
}

//! [`Heads`]: the weights of a stack of heads, their initialisation and their forward pass (spec
//! §4.1).

use super::HeadShape;
use crate::{
    directions::directions,
    random::{Purpose, stream},
};
use cedm_maths::draws::normals;
use rand::Rng;
use tch::{Device, Kind, Tensor};

/// Weights of H identical heads, stacked in the first dimension.
#[derive(Debug)]
pub struct Heads {
    /// The sizes of all tensors.
    pub shape: HeadShape,
    /// Bias of each linear map: \[H, 1, outputs\].
    pub biases: Vec<Tensor>,
    /// Weight of each linear map: \[H, outputs, inputs\].
    pub weights: Vec<Tensor>,
    /// Length g of each row of the weight-normalised last layer: \[H, C, 1\].
    pub weight_g: Tensor,
    /// Direction v of each row of the last layer, of any length: \[H, C, bottleneck\].
    pub weight_v: Tensor,
}

/// The transformation of features before the first layer.
#[derive(Debug)]
pub struct Standardisation {
    /// Mean that is subtracted, \[D\].
    pub mean: Tensor,
    /// Standard deviation by which features are divided, \[D\].
    pub std: Tensor,
    /// Whether rows are then divided by their L2 norm.
    pub l2_norm: bool,
}

impl Standardisation {
    /// The default of TEMI, which leaves features of this width unchanged.
    pub fn identity(width: i64, kind: Kind, device: Device) -> Self {
        Self {
            mean: Tensor::zeros([width], (kind, device)),
            std: Tensor::ones([width], (kind, device)),
            l2_norm: false,
        }
    }
    /// (x − mean) / std of features \[rows, D\], and unit rows of that if `l2_norm` is set.
    pub fn apply(&self, features: &Tensor) -> Tensor {
        let z = (features - &self.mean) / &self.std;
        if self.l2_norm { directions(&z) } else { z }
    }
}

impl Heads {
    /// Heads with random initial weights, as upstream has them: linear maps normal with standard
    /// deviation 0.02 (upstream cuts at ±2, which is 100 standard deviations and never happens),
    /// biases 0, lengths 1, directions uniform in ±1/√bottleneck. The directions keep PyTorch's
    /// default for a linear layer because upstream creates that layer after its other
    /// initialisation (spec §4.1). Head h draws from its own stream, so it does not depend on the
    /// number of heads.
    pub fn initialise(shape: HeadShape, seed: u64, kind: Kind, device: Device) -> Self {
        let maps = shape.maps();
        let bound = 1.0 / (shape.bottleneck as f64).sqrt();
        let mut weights: Vec<Vec<Tensor>> = maps.iter().map(|_| Vec::new()).collect();
        let mut directions = Vec::new();
        for head in 0..shape.heads {
            let mut rng = stream(seed, Purpose::HeadWeights, head as u64);
            for (stack, &(inputs, outputs)) in weights.iter_mut().zip(&maps) {
                stack.push(
                    Tensor::from_slice(&normals(&mut rng, (inputs * outputs) as usize, 0.02))
                        .view([outputs, inputs]),
                );
            }
            let count = shape.clusters * shape.bottleneck;
            let uniform: Vec<f32> = (0..count)
                .map(|_| rng.random_range(-bound..bound) as f32)
                .collect();
            directions.push(Tensor::from_slice(&uniform).view([shape.clusters, shape.bottleneck]));
        }
        let place = |stack: &[Tensor]| Tensor::stack(stack, 0).to_kind(kind).to_device(device);
        Self {
            shape,
            biases: maps
                .iter()
                .map(|&(_, outputs)| Tensor::zeros([shape.heads, 1, outputs], (kind, device)))
                .collect(),
            weights: weights.iter().map(|stack| place(stack)).collect(),
            weight_g: Tensor::ones([shape.heads, shape.clusters, 1], (kind, device)),
            weight_v: place(&directions),
        }
    }
    /// All tensors in a fixed order: biases, weights, lengths, directions.
    pub fn tensors(&self) -> Vec<&Tensor> {
        self.biases
            .iter()
            .chain(&self.weights)
            .chain([&self.weight_g, &self.weight_v])
            .collect()
    }
    /// Heads from their tensors, in the order of [`Heads::tensors`].
    pub fn with_tensors(shape: HeadShape, tensors: Vec<Tensor>) -> Self {
        let layers = shape.layers as usize;
        let mut rest = tensors.into_iter();
        let biases = rest.by_ref().take(layers).collect();
        let weights = rest.by_ref().take(layers).collect();
        let mut last = || {
            rest.next()
                .expect("invariant: two tensors per layer and two more")
        };
        Self {
            shape,
            biases,
            weights,
            weight_g: last(),
            weight_v: last(),
        }
    }
    /// Heads of the same sizes, whose tensors are `f` of these.
    pub fn map(&self, f: impl FnMut(&Tensor) -> Tensor) -> Self {
        Self::with_tensors(self.shape, self.tensors().into_iter().map(f).collect())
    }
    /// A view of `count` heads from `first` on; writing to it writes to these heads.
    pub fn group(&self, first: i64, count: i64) -> Self {
        let mut group = self.map(|tensor| tensor.narrow(0, first, count));
        group.shape.heads = count;
        group
    }
    /// Weights g v/‖v‖ of the last layer: \[H, C, bottleneck\].
    pub fn last_layer(&self) -> Tensor {
        &self.weight_v * (&self.weight_g / self.direction_norms())
    }
    /// Norm ‖v‖ of each direction of the last layer: \[H, C, 1\].
    pub fn direction_norms(&self) -> Tensor {
        self.weight_v.norm_scalaropt_dim(2.0, [2].as_slice(), true)
    }
    /// Logits \[H, rows, C\] of standardised features \[rows, D\].
    pub fn forward(&self, features: &Tensor) -> Tensor {
        let mut hidden = features
            .unsqueeze(0)
            .expand([self.shape.heads, -1, -1], false);
        for (layer, (bias, weight)) in self.biases.iter().zip(&self.weights).enumerate() {
            if layer > 0 {
                // "none": exact, by the error function; in place, as the teacher keeps nothing.
                hidden = hidden.gelu_("none");
            }
            hidden = bias.baddbmm(&hidden, &weight.transpose(1, 2), 1, 1);
        }
        // No activation after the last map: the bottleneck is a direction, positive or negative.
        let norms = hidden
            .norm_scalaropt_dim(2.0, [2].as_slice(), true)
            .clamp_min(super::gradients::NORM_EPS);
        let unit = hidden.g_div_(&norms);
        unit.bmm(&self.last_layer().transpose(1, 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_contract::kinds::cluster::TemiParams;

    fn shape() -> HeadShape {
        HeadShape::new(
            &TemiParams {
                heads: 3,
                hidden: 64,
                bottleneck: 256,
                ..TemiParams::default()
            },
            32,
            100,
        )
        .unwrap()
    }

    #[test]
    fn initial_weights_have_upstream_statistics() {
        let heads = Heads::initialise(shape(), 0, Kind::Float, Device::Cpu);
        for weight in &heads.weights {
            assert!((weight.std(true).double_value(&[]) - 0.02).abs() < 1e-3);
        }
        // Uniform in ±1/16 has the standard deviation 1/√(3·256) = 0.0361.
        assert!((heads.weight_v.std(true).double_value(&[]) - 0.0361).abs() < 2e-4);
        assert!(heads.weight_v.abs().max().double_value(&[]) <= 0.0625);
        assert_eq!(heads.weight_g.min().double_value(&[]), 1.0);
        assert_eq!(heads.biases[0].abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn a_head_starts_the_same_however_many_there_are() {
        let many = Heads::initialise(shape(), 7, Kind::Float, Device::Cpu);
        let one = Heads::initialise(
            HeadShape {
                heads: 1,
                ..shape()
            },
            7,
            Kind::Float,
            Device::Cpu,
        );
        assert!(
            many.group(0, 1).weights[1].equal(&one.weights[1])
                && many.group(0, 1).weight_v.equal(&one.weight_v)
        );
        assert!(!many.group(1, 1).weight_v.equal(&one.weight_v));
    }

    #[test]
    fn a_group_of_heads_gives_the_logits_of_the_whole_stack() {
        let heads = Heads::initialise(shape(), 1, Kind::Double, Device::Cpu);
        let features = Tensor::arange(5 * 32, (Kind::Double, Device::Cpu))
            .sin()
            .view([5, 32]);
        let all = heads.forward(&features);
        assert_eq!(all.size(), [3, 5, 100]);
        let second = heads.group(1, 1).forward(&features);
        assert!((all.narrow(0, 1, 1) - second).abs().max().double_value(&[]) < 1e-14);
        assert!(
            all.abs().max().double_value(&[]) <= 1.0 + 1e-12,
            "each logit is a cosine while g = 1"
        );
    }
}

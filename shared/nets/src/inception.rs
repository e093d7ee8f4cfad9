//! The Inception network of the Fréchet distance: TensorFlow's graph of 2015-12-05 under
//! torchvision's names (spec §10.1, appendix B).
//!
//! It differs from torchvision's InceptionV3 in three points that all change the distance: average
//! pools do not count padding, the pool branch of the last block takes the maximum, and there are
//! 1008 classes.

mod blocks;
mod names;
pub mod resize;

use crate::{
    NetError, Weights,
    layers::{cast_like, channels_last},
    vit::Trace,
    weights::{Loading, blueprint},
};
use blocks::{Conv, Mixed};
use tch::{Device, Kind, Tensor};

/// Side of the images that the network reads.
pub const SIDE: i64 = 299;
/// Classes of the graph: ImageNet's 1000, one for background, and seven that are not used.
const CLASSES: i64 = 1008;

/// A loaded Inception network.
pub struct Inception {
    stem: Vec<(&'static str, Step)>,
    mixed: Vec<(&'static str, Mixed)>,
    fc_weight: Tensor,
    fc_bias: Tensor,
}

enum Step {
    Conv(Conv),
    MaxPool,
}

impl Inception {
    /// Loads the network. The names of pytorch-fid's wrapper and of NVIDIA's detector are
    /// understood as well as torchvision's.
    ///
    /// # Errors
    /// When names are missing or left over, or shapes do not fit.
    pub fn load(weights: &Weights, kind: Kind, device: Device) -> Result<Self, NetError> {
        let weights = &names::normalised(weights);
        let from = weights.load(kind, device);
        let net = Self::assemble(&from);
        from.finish("the FID Inception network")?;
        Ok(net)
    }

    /// The weights under the names that the network loads, from any that are understood.
    pub(crate) fn upstream(weights: &Weights) -> Weights {
        names::normalised(weights)
    }

    /// Names and shapes of the tensors that the network loads.
    pub fn blueprint() -> Vec<(String, Vec<i64>)> {
        blueprint(Self::assemble)
    }

    fn assemble(from: &Loading<'_>) -> Self {
        let conv = |name: &'static str, dim_in, dim_out, kernel, stride, padding| {
            (
                name,
                Step::Conv(Conv::load(
                    from,
                    name,
                    dim_in,
                    dim_out,
                    (kernel, kernel),
                    stride,
                    (padding, padding),
                )),
            )
        };
        let stem = vec![
            // Input and output channels, kernel, stride, padding (spec §10.1).
            conv("Conv2d_1a_3x3", 3, 32, 3, 2, 0),
            conv("Conv2d_2a_3x3", 32, 32, 3, 1, 0),
            conv("Conv2d_2b_3x3", 32, 64, 3, 1, 1),
            ("MaxPool_1", Step::MaxPool),
            conv("Conv2d_3b_1x1", 64, 80, 1, 1, 0),
            conv("Conv2d_4a_3x3", 80, 192, 3, 1, 0),
            ("MaxPool_2", Step::MaxPool),
        ];
        let mixed = vec![
            // 35×35, then 17×17 from 6a on, then 8×8 from 7a on; the numbers are what torchvision
            // names `pool_features`, `in_channels` and `channels_7x7`.
            ("Mixed_5b", Mixed::a(from, "Mixed_5b", 192, 32)),
            ("Mixed_5c", Mixed::a(from, "Mixed_5c", 256, 64)),
            ("Mixed_5d", Mixed::a(from, "Mixed_5d", 288, 64)),
            ("Mixed_6a", Mixed::b(from, "Mixed_6a", 288)),
            ("Mixed_6b", Mixed::c(from, "Mixed_6b", 128)),
            ("Mixed_6c", Mixed::c(from, "Mixed_6c", 160)),
            ("Mixed_6d", Mixed::c(from, "Mixed_6d", 160)),
            ("Mixed_6e", Mixed::c(from, "Mixed_6e", 192)),
            ("Mixed_7a", Mixed::d(from, "Mixed_7a")),
            ("Mixed_7b", Mixed::e(from, "Mixed_7b", 1280, false)),
            ("Mixed_7c", Mixed::e(from, "Mixed_7c", 2048, true)),
        ];
        let (fc_weight, fc_bias) = (
            from.take("fc.weight", &[CLASSES, 2048]),
            from.take("fc.bias", &[CLASSES]),
        );
        Self {
            stem,
            mixed,
            fc_weight,
            fc_bias,
        }
    }

    /// Pooled features \[n, 2048\] of images \[n, 3, 299, 299\] that are scaled to −1 to 1 already.
    /// `trace` is called with the output of each module.
    pub fn features(&self, scaled: &Tensor, trace: Trace<'_>) -> Tensor {
        // One reordering here saves two for each of the 94 convolutions.
        let mut x = channels_last(&cast_like(scaled, &self.fc_weight));
        for (name, step) in &self.stem {
            x = match step {
                Step::Conv(conv) => conv.forward(&x),
                Step::MaxPool => x.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false),
            };
            trace(name, &x);
        }
        for (name, mixed) in &self.mixed {
            x = mixed.forward(&x);
            trace(name, &x);
        }
        // Global average pool over 8×8; no dropout in inference.
        x.mean_dim([2i64, 3].as_slice(), false, None)
    }

    /// Pooled features \[n, 2048\] of uint8 images \[n, 1 or 3, h, w\] by TensorFlow's resize and
    /// scaling, as EDM and the paper do.
    pub fn forward(&self, images: &Tensor) -> Tensor {
        self.features(
            &resize::scaled_as_tensorflow(&self.rgb(images)),
            &mut |_, _| {},
        )
    }

    /// Pooled features \[n, 2048\] of uint8 images \[n, 1 or 3, h, w\] resized and scaled by
    /// `rule`.
    ///
    /// # Errors
    /// When the tensor is of another type or shape.
    pub fn forward_by(&self, rule: resize::Rule, images: &Tensor) -> Result<Tensor, NetError> {
        Ok(self.features(&rule.scaled(images, &self.rgb(images))?, &mut |_, _| {}))
    }

    /// Images \[n, 3, h, w\] in the network's precision, values 0 to 255; grey is repeated.
    pub fn rgb(&self, images: &Tensor) -> Tensor {
        let x = cast_like(images, &self.fc_weight);
        if x.size()[1] == 1 {
            x.expand([-1, 3, -1, -1], false)
        } else {
            x
        }
    }

    /// Class scores without the bias \[n, 1008\], as the inception score uses them.
    pub fn logits_unbiased(&self, features: &Tensor) -> Tensor {
        features.linear(&self.fc_weight, None::<&Tensor>)
    }

    /// Class scores \[n, 1008\].
    pub fn logits(&self, features: &Tensor) -> Tensor {
        features.linear(&self.fc_weight, Some(&self.fc_bias))
    }
}

#[cfg(test)]
mod tests;

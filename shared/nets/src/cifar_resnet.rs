//! CIFAR ResNets (He et al. 2016, section 4.2): three stages of basic blocks at 16, 32 and 64
//! channels, shortcuts without parameters (stride-2 subsampling and zero channels), global average
//! pool.

use crate::{
    NetError, Weights,
    layers::{BatchNorm, cast_like},
    weights::{Loading, blueprint},
};
use tch::{Device, Kind, Tensor};

/// PyTorch's default, which these networks were trained with.
const BATCH_NORM_EPS: f64 = 1e-5;

struct Block {
    conv1: Tensor,
    bn1: BatchNorm,
    conv2: Tensor,
    bn2: BatchNorm,
    stride: i64,
}

/// A loaded network of depth 6 · blocks + 2.
pub struct CifarResnet {
    conv1: Tensor,
    bn1: BatchNorm,
    blocks: Vec<Block>,
    linear: (Tensor, Tensor),
}

impl CifarResnet {
    /// Loads a network with `blocks` blocks in each stage: 9 make ResNet-56.
    ///
    /// # Errors
    /// When names are missing or left over, or shapes do not fit.
    pub fn load(
        weights: &Weights,
        blocks: i64,
        kind: Kind,
        device: Device,
    ) -> Result<Self, NetError> {
        let from = weights.load(kind, device);
        let net = Self::assemble(&from, blocks);
        from.finish(&format!("CIFAR ResNet-{}", 6 * blocks + 2))?;
        Ok(net)
    }

    /// Names and shapes of the tensors that a network of this depth loads.
    pub fn blueprint(blocks: i64) -> Vec<(String, Vec<i64>)> {
        blueprint(|from| Self::assemble(from, blocks))
    }

    fn assemble(from: &Loading<'_>, blocks: i64) -> Self {
        // He et al. 2016, section 4.2: no pooling after the first layer, since images are small.
        let (conv1, bn1) = (
            from.take("conv1.weight", &[16, 3, 3, 3]),
            BatchNorm::load(from, "bn1", 16, BATCH_NORM_EPS),
        );
        let mut stack = Vec::new();
        let mut width = 16;
        for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
            for block in 0..blocks {
                let name = format!("layer{}.{block}", stage + 1);
                stack.push(Block {
                    conv1: from.take(&format!("{name}.conv1.weight"), &[channels, width, 3, 3]),
                    bn1: BatchNorm::load(from, &format!("{name}.bn1"), channels, BATCH_NORM_EPS),
                    conv2: from.take(&format!("{name}.conv2.weight"), &[channels, channels, 3, 3]),
                    bn2: BatchNorm::load(from, &format!("{name}.bn2"), channels, BATCH_NORM_EPS),
                    // The first block of a later stage halves the resolution.
                    stride: if stage > 0 && block == 0 { 2 } else { 1 },
                });
                width = channels;
            }
        }
        // Read from the file: 10 for CIFAR-10, 100 for CIFAR-100.
        let classes = from.shape("linear.bias").map_or(10, |shape| shape[0]);
        let linear = (
            from.take("linear.weight", &[classes, 64]),
            from.take("linear.bias", &[classes]),
        );
        Self {
            conv1,
            bn1,
            blocks: stack,
            linear,
        }
    }

    /// Pooled features \[n, 64\] of normalised images \[n, 3, h, w\].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x = cast_like(x, &self.conv1);
        let x = self.bn1.forward(&conv3x3(&x, &self.conv1, 1)).relu();
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x));
        x.mean_dim([2i64, 3].as_slice(), false, None)
    }

    /// Class scores \[n, classes\] of pooled features \[n, 64\].
    pub fn logits(&self, features: &Tensor) -> Tensor {
        features.linear(&self.linear.0, Some(&self.linear.1))
    }
}

impl Block {
    fn forward(&self, x: &Tensor) -> Tensor {
        let out = self
            .bn1
            .forward(&conv3x3(x, &self.conv1, self.stride))
            .relu();
        let out = self.bn2.forward(&conv3x3(&out, &self.conv2, 1));
        // Where the number of channels doubles, the resolution is halved too.
        let more = out.size()[1] - x.size()[1];
        let shortcut = if more == 0 {
            x.shallow_clone()
        } else {
            // Option A of the paper: every second pixel, zeros for the new channels on both sides.
            x.slice(2, None, None, 2)
                .slice(3, None, None, 2)
                // Pairs from the last axis on: none for width and height.
                .constant_pad_nd([0, 0, 0, 0, more / 2, more - more / 2])
        };
        (out + shortcut).relu()
    }
}

fn conv3x3(x: &Tensor, weight: &Tensor, stride: i64) -> Tensor {
    x.conv2d(weight, None::<&Tensor>, [stride, stride], [1, 1], [1, 1], 1)
}

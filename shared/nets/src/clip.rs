//! CLIP's image and text towers under OpenCLIP's names (Radford et al. 2021; spec §2.4).

mod prompts;
mod text;
mod tokenizer;

pub use crate::layers::Activation;
pub use prompts::{TEMPLATES, ZeroShot, classifier, classifier_from, prompts_of, zero_shot};
pub use text::{ClipText, TextConfig};
pub use tokenizer::{CONTEXT_LENGTH, Tokenizer};

use crate::{
    NetError, Weights,
    layers::{LayerNorm, Linear, attend, cast_like},
    vit::Trace,
    weights::{Loading, blueprint},
};
use tch::{Device, Kind, Tensor};

/// PyTorch's default; the self-supervised ViTs use 1e-6.
const LAYER_NORM_EPS: f64 = 1e-5;

/// Sizes of an image tower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VisionConfig {
    /// Input side in pixels.
    pub image: i64,
    /// Side of a patch in pixels.
    pub patch: i64,
    /// Width of a token.
    pub width: i64,
    /// Number of transformer blocks.
    pub layers: i64,
    /// Width of an attention head.
    pub head_width: i64,
    /// Hidden width of the MLP.
    pub mlp_width: i64,
    /// Width of the embedding that both towers share.
    pub embed_dim: i64,
    /// Activation of the MLP.
    pub activation: Activation,
}

/// A loaded image tower.
pub struct ClipVision {
    config: VisionConfig,
    conv1: Tensor,
    class_embedding: Tensor,
    positional_embedding: Tensor,
    ln_pre: LayerNorm,
    blocks: Vec<ResidualBlock>,
    ln_post: LayerNorm,
    proj: Tensor,
}

impl ClipVision {
    /// Loads the tower from a whole CLIP (names under `visual.`, the text tower is ignored) or from
    /// a file of the tower alone.
    ///
    /// # Errors
    /// When names are missing or left over, or shapes do not fit.
    pub fn load(
        weights: &Weights,
        config: VisionConfig,
        kind: Kind,
        device: Device,
    ) -> Result<Self, NetError> {
        let weights = &if weights.has_below("visual.") {
            weights.below("visual.")
        } else {
            weights.shallow_clone()
        };
        let from = weights.load(kind, device);
        let net = Self::assemble(&from, config);
        from.finish(&format!(
            "a CLIP image tower of width {}, {} blocks, patch {}",
            config.width, config.layers, config.patch
        ))?;
        Ok(net)
    }

    /// Names and shapes of the tensors that a tower of this size loads.
    pub fn blueprint(config: VisionConfig) -> Vec<(String, Vec<i64>)> {
        blueprint(|from| Self::assemble(from, config))
    }

    fn assemble(from: &Loading<'_>, config: VisionConfig) -> Self {
        let VisionConfig {
            patch,
            width,
            embed_dim,
            ..
        } = config;
        // Fixed: CLIP's positions are never resampled here, its input is always of one size.
        let grid = config.image / patch;
        Self {
            conv1: from.take("conv1.weight", &[width, 3, patch, patch]),
            class_embedding: from.take("class_embedding", &[width]),
            positional_embedding: from.take("positional_embedding", &[1 + grid * grid, width]),
            ln_pre: LayerNorm::load(from, "ln_pre", width, LAYER_NORM_EPS),
            blocks: blocks(
                from,
                config.layers,
                width,
                config.head_width,
                config.mlp_width,
                config.activation,
                false,
            ),
            ln_post: LayerNorm::load(from, "ln_post", width, LAYER_NORM_EPS),
            proj: from.take("proj", &[width, embed_dim]),
            config,
        }
    }

    /// Embeddings \[n, embed_dim\] of normalised images \[n, 3, image, image\]; they are not scaled
    /// to norm 1. `trace` is called with `patch_embed`, `ln_pre`, `block<i>` and `ln_post_cls`.
    pub fn forward(&self, x: &Tensor, trace: Trace<'_>) -> Tensor {
        let x = cast_like(x, &self.conv1);
        let (n, width, patch) = (x.size()[0], self.config.width, self.config.patch);
        let patches = x
            .conv2d(
                &self.conv1,
                None::<&Tensor>,
                [patch, patch],
                [0, 0],
                [1, 1],
                1,
            )
            .flatten(2, 3)
            .transpose(1, 2);
        trace("patch_embed", &patches);
        let class = self.class_embedding.expand([n, 1, width], false);
        // Unlike a ViT, CLIP normalises tokens before the first block too, and the patch
        // projection has no bias.
        let mut x = self
            .ln_pre
            .forward(&(Tensor::cat(&[class, patches], 1) + &self.positional_embedding));
        trace("ln_pre", &x);
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x);
            trace(&format!("block{index}"), &x);
        }
        let class = self.ln_post.forward(&x.select(1, 0));
        trace("ln_post_cls", &class);
        // A matrix \[width, embed_dim\], not a linear layer: it is not transposed.
        class.matmul(&self.proj)
    }
}

/// A residual block of either tower.
struct ResidualBlock {
    ln_1: LayerNorm,
    in_proj: Linear,
    out_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    c_proj: Linear,
    heads: i64,
    causal: bool,
    activation: Activation,
}

/// `count` blocks under `transformer.resblocks.<i>`.
fn blocks(
    from: &Loading<'_>,
    count: i64,
    width: i64,
    head_width: i64,
    mlp_width: i64,
    activation: Activation,
    causal: bool,
) -> Vec<ResidualBlock> {
    let one = |index: i64| {
        let name = format!("transformer.resblocks.{index}");
        ResidualBlock {
            ln_1: LayerNorm::load(from, &format!("{name}.ln_1"), width, LAYER_NORM_EPS),
            // PyTorch's `MultiheadAttention` names q, k and v together `in_proj_*`.
            in_proj: Linear {
                weight: from.take(&format!("{name}.attn.in_proj_weight"), &[3 * width, width]),
                bias: Some(from.take(&format!("{name}.attn.in_proj_bias"), &[3 * width])),
            },
            out_proj: Linear::load(from, &format!("{name}.attn.out_proj"), width, width),
            ln_2: LayerNorm::load(from, &format!("{name}.ln_2"), width, LAYER_NORM_EPS),
            c_fc: Linear::load(from, &format!("{name}.mlp.c_fc"), width, mlp_width),
            c_proj: Linear::load(from, &format!("{name}.mlp.c_proj"), mlp_width, width),
            // OpenCLIP's configuration gives the width of a head, not their number.
            heads: width / head_width,
            causal,
            activation,
        }
    };
    (0..count).map(one).collect()
}

impl ResidualBlock {
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = x + self.out_proj.forward(&attend(
            &self.in_proj.forward(&self.ln_1.forward(x)),
            self.heads,
            self.causal,
        ));
        let hidden = self
            .activation
            .forward(&self.c_fc.forward(&self.ln_2.forward(&x)));
        x + self.c_proj.forward(&hidden)
    }
}

#[cfg(test)]
mod tests;

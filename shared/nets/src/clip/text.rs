//! The text tower: from token ids to embeddings (spec §2.4).

use super::{LAYER_NORM_EPS, ResidualBlock, blocks, tokenizer::CONTEXT_LENGTH};
use crate::{
    NetError, Weights,
    layers::{Activation, LayerNorm},
    vit::Trace,
};
use tch::{Device, Kind, Tensor};

/// Sizes of a text tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextConfig {
    /// Width of a token.
    pub width: i64,
    /// Number of transformer blocks.
    pub layers: i64,
    /// Attention heads of a block.
    pub heads: i64,
    /// Width of the embedding that both towers share.
    pub embed_dim: i64,
    /// Activation of the MLP.
    pub activation: Activation,
}

/// Size of the vocabulary, start and end tokens included.
const VOCABULARY: i64 = 49408;

/// A loaded text tower.
pub struct ClipText {
    token_embedding: Tensor,
    positional_embedding: Tensor,
    blocks: Vec<ResidualBlock>,
    ln_final: LayerNorm,
    text_projection: Tensor,
}

impl ClipText {
    /// Loads the tower from a whole CLIP; the image tower's tensors are ignored.
    ///
    /// # Errors
    /// When names are missing or left over, or shapes do not fit.
    pub fn load(
        weights: &Weights,
        config: TextConfig,
        kind: Kind,
        device: Device,
    ) -> Result<Self, NetError> {
        let TextConfig {
            width,
            layers,
            heads,
            embed_dim,
            activation,
        } = config;
        let from = weights.load(kind, device);
        let net = Self {
            token_embedding: from.take("token_embedding.weight", &[VOCABULARY, width]),
            positional_embedding: from
                .take("positional_embedding", &[CONTEXT_LENGTH as i64, width]),
            blocks: blocks(
                &from,
                layers,
                width,
                width / heads,
                4 * width,
                activation,
                true,
            ),
            ln_final: LayerNorm::load(&from, "ln_final", width, LAYER_NORM_EPS),
            // Like the image tower's `proj`: \[width, embed_dim\], without bias.
            text_projection: from.take("text_projection", &[width, embed_dim]),
        };
        // Settings that OpenAI's own files store as tensors; none takes part in the embedding.
        let known = [
            "logit_scale",
            "logit_bias",
            "attn_mask",
            "input_resolution",
            "context_length",
            "vocab_size",
        ];
        from.ignore(|name| name.starts_with("visual.") || known.contains(&name));
        from.finish(&format!(
            "a CLIP text tower of width {width}, {layers} blocks"
        ))?;
        Ok(net)
    }

    /// Embeddings \[n, embed_dim\] of token ids i64 \[n, 77\]; they are not scaled to norm 1.
    /// `trace` is called with `text_blocks_out`, the input of `ln_final`.
    pub fn forward(&self, ids: &Tensor, trace: Trace<'_>) -> Tensor {
        let ids = ids.to_device(self.token_embedding.device());
        // No padding index (−1): padding tokens come after the end token, where the causal mask
        // hides them.
        let x = Tensor::embedding(&self.token_embedding, &ids, -1, false, false)
            + &self.positional_embedding;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x));
        trace("text_blocks_out", &x);
        let x = self.ln_final.forward(&x);
        // The embedding is taken at the end token, which has the largest id of all: every earlier
        // position has seen only a part of the text.
        let end = ids.argmax(1, false);
        let rows = Tensor::arange(x.size()[0], (Kind::Int64, x.device()));
        x.index(&[Some(rows), Some(end)])
            .matmul(&self.text_projection)
    }
}

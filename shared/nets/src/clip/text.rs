//! The text tower: token ids to embeddings.

use super::{LAYER_NORM_EPS, ResidualBlock, blocks, tokenizer::CONTEXT_LENGTH};
use crate::{
    NetError, Weights,
    layers::{Activation, LayerNorm},
    vit::Trace,
};
use tch::{Device, Kind, Tensor};

/// The text tower by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextConfig {
    /// Width.
    pub width: i64,
    /// Blocks.
    pub layers: i64,
    /// Attention heads.
    pub heads: i64,
    /// Width of the embedding that both towers share.
    pub embed_dim: i64,
    /// Activation of the MLP.
    pub activation: Activation,
}

/// Tokens of the vocabulary, start and end included.
const VOCABULARY: i64 = 49408;

/// The text tower, ready to compute.
pub struct ClipText {
    token_embedding: Tensor,
    positional_embedding: Tensor,
    blocks: Vec<ResidualBlock>,
    ln_final: LayerNorm,
    text_projection: Tensor,
}

impl ClipText {
    /// Loads the tower from a whole CLIP; the image tower's tensors are passed over.
    ///
    /// # Errors
    /// When the weights are another network's.
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
            text_projection: from.take("text_projection", &[width, embed_dim]),
        };
        // Numbers that OpenAI's own files carry along.
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

    /// Embeddings \[n, embed_dim\] of token ids i64 \[n, 77\], not normalised. `trace` sees
    /// `text_blocks_out`, what `ln_final` reads.
    pub fn forward(&self, ids: &Tensor, trace: Trace<'_>) -> Tensor {
        let ids = ids.to_device(self.token_embedding.device());
        let x = Tensor::embedding(&self.token_embedding, &ids, -1, false, false)
            + &self.positional_embedding;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x));
        trace("text_blocks_out", &x);
        let x = self.ln_final.forward(&x);
        // The end token has the largest id of all.
        let end = ids.argmax(1, false);
        let rows = Tensor::arange(x.size()[0], (Kind::Int64, x.device()));
        x.index(&[Some(rows), Some(end)])
            .matmul(&self.text_projection)
    }
}

//! Vision transformers under upstream's names: DINO, MoCo v3, iBOT and DINOv2 (Dosovitskiy et al.
//! 2021; spec §2.2, §2.3).

pub mod positions;

use crate::{
    NetError, Weights,
    layers::{Activation, LayerNorm, Linear, attend, cast_like},
    weights::{Loading, blueprint},
};
use positions::Interpolation;
use tch::{Device, Kind, Tensor};

/// The feed-forward layer of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// fc1, GELU, fc2; the hidden layer is this many times as wide.
    Mlp {
        /// Hidden width over width.
        ratio: i64,
    },
    /// `w3(silu(a) · b)` with a and b the halves of `w12`'s output (DINOv2 ViT-g).
    SwiGlu,
}

/// Sizes and variants of a vision transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VitConfig {
    /// Side of a patch in pixels.
    pub patch: i64,
    /// Width D of a token, and of the features.
    pub dim: i64,
    /// Number of transformer blocks.
    pub depth: i64,
    /// Attention heads of a block.
    pub heads: i64,
    /// Kind of feed-forward layer.
    pub feed_forward: FeedForward,
    /// Whether branches are scaled by `ls1.gamma` and `ls2.gamma` (DINOv2).
    pub layer_scale: bool,
    /// Number of register tokens between class token and patches (Darcet et al. 2024).
    pub registers: i64,
    /// Side of the grid that positions are stored for: image side over patch side.
    pub grid: i64,
    /// How positions are resampled to another grid.
    pub interpolation: Interpolation,
}

/// Of all ViTs here; PyTorch's default would be 1e-5.
const LAYER_NORM_EPS: f64 = 1e-6;

impl VitConfig {
    /// DINO, MoCo v3 and iBOT: patches of 16 pixels, images of 224.
    pub const fn dino(dim: i64, depth: i64, heads: i64) -> Self {
        Self {
            patch: 16,
            dim,
            depth,
            heads,
            feed_forward: FeedForward::Mlp { ratio: 4 },
            layer_scale: false,
            registers: 0,
            grid: 14,
            interpolation: Interpolation::Offset,
        }
    }
    /// DINOv2: patches of 14 pixels, positions stored for images of 518. At 224 pixels they are
    /// always resampled.
    pub const fn dinov2(dim: i64, depth: i64, heads: i64, feed_forward: FeedForward) -> Self {
        Self {
            patch: 14,
            feed_forward,
            layer_scale: true,
            grid: 37,
            ..Self::dino(dim, depth, heads)
        }
    }
    /// The same with register tokens. Upstream resamples the positions of such models in the other
    /// way.
    pub const fn with_registers(self, registers: i64) -> Self {
        Self {
            registers,
            interpolation: Interpolation::Antialias,
            ..self
        }
    }
    /// Sizes of a plain ViT, read from the shapes of its weights. The number of heads shows in no
    /// shape: it is the scalar tensor `heads`, which adaptation writes, or else one head for every
    /// 64 values of width.
    ///
    /// # Errors
    /// When the weights are not those of a ViT.
    pub fn of(weights: &Weights) -> Result<Self, NetError> {
        let shape = |name: &str, axes: usize| {
            weights
                .get(name)
                .map(Tensor::size)
                .filter(|shape| shape.len() == axes)
        };
        let found = (|| {
            let patch = shape("patch_embed.proj.weight", 4)?;
            let fc1 = shape("blocks.0.mlp.fc1.weight", 2)?;
            // One position belongs to the class token.
            // The class token comes first among the positions, patches after it in row-major order.
            let grid = ((shape("pos_embed", 3)?[1] - 1) as f64).sqrt() as i64;
            let depth = weights
                .iter()
                // Every block has exactly one such tensor.
                .filter(|(name, _)| name.ends_with(".norm1.weight"))
                .count() as i64;
            let heads = weights
                .get("heads")
                // ViT-S, B and L all have heads of 64 values.
                .map_or(patch[0] / 64, |heads| heads.int64_value(&[]));
            let feed_forward = FeedForward::Mlp {
                ratio: fc1[0] / patch[0].max(1),
            };
            (heads > 0 && patch[0] % heads == 0).then(|| Self {
                patch: patch[2],
                grid,
                feed_forward,
                ..Self::dino(patch[0], depth, heads)
            })
        })();
        found.ok_or_else(|| {
            NetError::extractor(
                "vit",
                "the file is not a vision transformer: expected tensors `patch_embed.proj.weight`, \
                 `pos_embed` and `blocks.0.mlp.fc1.weight`",
            )
        })
    }
    /// Hidden width of the feed-forward layer.
    pub fn hidden(&self) -> i64 {
        match self.feed_forward {
            FeedForward::Mlp { ratio } => self.dim * ratio,
            // Two thirds of 4 · dim, so that three matrices have as many weights as the usual two;
            // upstream rounds up to a multiple of 8.
            FeedForward::SwiGlu => (4 * self.dim * 2 / 3 + 7) / 8 * 8,
        }
    }
}

enum Hidden {
    Mlp { fc1: Linear, fc2: Linear },
    SwiGlu { w12: Linear, w3: Linear },
}

struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    hidden: Hidden,
    scale: Option<(Tensor, Tensor)>,
}

/// A loaded vision transformer.
pub struct Vit {
    config: VitConfig,
    patch_weight: Tensor,
    patch_bias: Tensor,
    cls_token: Tensor,
    register_tokens: Option<Tensor>,
    pos_embed: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

/// Called with name and value of intermediate results, for comparisons with other programs.
pub type Trace<'a> = &'a mut dyn FnMut(&str, &Tensor);

impl Vit {
    /// Loads a network in precision `kind` onto `device`. Weights that already are of that kind
    /// and on that device are shared, not copied.
    ///
    /// # Errors
    /// When names are missing or left over, or shapes do not fit.
    pub fn load(
        weights: &Weights,
        config: VitConfig,
        kind: Kind,
        device: Device,
    ) -> Result<Self, NetError> {
        let weights = &unchunked(weights);
        let from = weights.load(kind, device);
        let net = Self::assemble(&from, config);
        // Mask tokens serve training only; `fc_norm` is iBOT's norm for mean pooling; `heads` is
        // read by `VitConfig::of`.
        from.ignore(|name| {
            matches!(name, "mask_token" | "masked_embed" | "heads") || name.starts_with("fc_norm.")
        });
        from.finish(&format!(
            "a ViT of width {}, {} blocks, patch {}",
            config.dim, config.depth, config.patch
        ))?;
        Ok(net)
    }

    /// Names and shapes of the tensors that a network of this size loads.
    pub fn blueprint(config: VitConfig) -> Vec<(String, Vec<i64>)> {
        blueprint(|from| Self::assemble(from, config))
    }

    fn assemble(from: &Loading<'_>, config: VitConfig) -> Self {
        let VitConfig { patch, dim, .. } = config;
        Self {
            patch_weight: from.take("patch_embed.proj.weight", &[dim, 3, patch, patch]),
            patch_bias: from.take("patch_embed.proj.bias", &[dim]),
            cls_token: from.take("cls_token", &[1, 1, dim]),
            register_tokens: (config.registers > 0)
                .then(|| from.take("register_tokens", &[1, config.registers, dim])),
            pos_embed: from.take("pos_embed", &[1, 1 + config.grid * config.grid, dim]),
            blocks: (0..config.depth)
                .map(|index| Block::load(from, &format!("blocks.{index}"), &config))
                .collect(),
            norm: LayerNorm::load(from, "norm", dim, LAYER_NORM_EPS),
            config,
        }
    }

    /// Sizes of this network.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Features \[n, dim\] of normalised images \[n, 3, h, w\]: the class token after the last
    /// norm. h and w are multiples of the patch side.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.tokens(x, &mut |_, _| {}).select(1, 0)
    }

    /// Features \[n, dim\] by iBOT's `use_mean_pooling`: the mean of the patch tokens, without the
    /// last norm, normalised by `weight` and `bias` \[dim\].
    pub fn forward_mean(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        let tokens = self.body(x, &mut |_, _| {});
        // Neither the class token nor registers show a part of the image.
        let skip = 1 + self.config.registers;
        let mean = tokens.narrow(1, skip, tokens.size()[1] - skip).mean_dim(
            [1i64].as_slice(),
            false,
            None,
        );
        mean.layer_norm(
            [self.config.dim],
            Some(weight),
            Some(bias),
            LAYER_NORM_EPS,
            false,
        )
    }

    /// All tokens \[n, 1 + registers + patches, dim\] after the last norm; `trace` is called with
    /// `patch_embed`, `pos`, `tokens` and `block<i>`.
    pub fn tokens(&self, x: &Tensor, trace: Trace<'_>) -> Tensor {
        self.norm.forward(&self.body(x, trace))
    }

    fn body(&self, x: &Tensor, trace: Trace<'_>) -> Tensor {
        let mut tokens = self.embed(x, trace);
        trace("tokens", &tokens);
        for (index, block) in self.blocks.iter().enumerate() {
            // No dropout, no drop path: adaptation trains without them too.
            tokens = block.forward(&tokens, self.config.heads);
            trace(&format!("block{index}"), &tokens);
        }
        tokens
    }

    fn embed(&self, x: &Tensor, trace: Trace<'_>) -> Tensor {
        let patch = self.config.patch;
        let x = cast_like(x, &self.patch_weight);
        let (n, _, height, width) = x.size4().expect("invariant: images have four axes");
        // A convolution whose stride is its kernel: one linear map for each patch, row by row.
        let patches = x
            .conv2d(
                &self.patch_weight,
                Some(&self.patch_bias),
                [patch, patch],
                [0, 0],
                [1, 1],
                1,
            )
            .flatten(2, 3)
            .transpose(1, 2);
        trace("patch_embed", &patches);
        let positions = positions::resample(
            &self.pos_embed,
            height / patch,
            width / patch,
            self.config.interpolation,
        );
        trace("pos", &positions);
        // The class token has a position too, so the sum comes after the concatenation.
        let class = self.cls_token.expand([n, 1, self.config.dim], false);
        let tokens = Tensor::cat(&[class, patches], 1) + positions;
        match &self.register_tokens {
            None => tokens,
            // Registers have no position: they are put in after the sum.
            Some(registers) => {
                let registers =
                    registers.expand([n, self.config.registers, self.config.dim], false);
                let patches = tokens.narrow(1, 1, tokens.size()[1] - 1);
                Tensor::cat(&[tokens.narrow(1, 0, 1), registers, patches], 1)
            }
        }
    }
}

impl Block {
    fn load(from: &Loading<'_>, name: &str, config: &VitConfig) -> Self {
        let (dim, hidden) = (config.dim, config.hidden());
        let gamma = |name: String| from.take(&name, &[dim]);
        Self {
            norm1: LayerNorm::load(from, &format!("{name}.norm1"), dim, LAYER_NORM_EPS),
            qkv: Linear::load(from, &format!("{name}.attn.qkv"), dim, 3 * dim),
            proj: Linear::load(from, &format!("{name}.attn.proj"), dim, dim),
            norm2: LayerNorm::load(from, &format!("{name}.norm2"), dim, LAYER_NORM_EPS),
            hidden: match config.feed_forward {
                FeedForward::Mlp { .. } => Hidden::Mlp {
                    fc1: Linear::load(from, &format!("{name}.mlp.fc1"), dim, hidden),
                    fc2: Linear::load(from, &format!("{name}.mlp.fc2"), hidden, dim),
                },
                FeedForward::SwiGlu => {
                    // timm's copies of the weights rename the two layers.
                    let (first, second) = if from.has(&format!("{name}.mlp.fc1.weight")) {
                        ("fc1", "fc2")
                    } else {
                        ("w12", "w3")
                    };
                    Hidden::SwiGlu {
                        w12: Linear::load(from, &format!("{name}.mlp.{first}"), dim, 2 * hidden),
                        w3: Linear::load(from, &format!("{name}.mlp.{second}"), hidden, dim),
                    }
                }
            },
            scale: config.layer_scale.then(|| {
                (
                    gamma(format!("{name}.ls1.gamma")),
                    gamma(format!("{name}.ls2.gamma")),
                )
            }),
        }
    }

    fn forward(&self, x: &Tensor, heads: i64) -> Tensor {
        // Pre-norm residual block: x + ls1 · attention(norm1(x)), then x + ls2 · mlp(norm2(x)).
        let scaled = |branch: Tensor, first: bool| match &self.scale {
            None => branch,
            Some((one, two)) => branch * if first { one } else { two },
        };
        let x = x + scaled(
            self.proj.forward(&attend(
                &self.qkv.forward(&self.norm1.forward(x)),
                heads,
                false,
            )),
            true,
        );
        let out = self.hidden.forward(&self.norm2.forward(&x));
        x + scaled(out, false)
    }
}

impl Hidden {
    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Hidden::Mlp { fc1, fc2 } => fc2.forward(&Activation::Gelu.forward(&fc1.forward(x))),
            Hidden::SwiGlu { w12, w3 } => {
                // The first half is gated by SiLU, in upstream's order; the other way round is
                // another function.
                let halves = w12.forward(x).chunk(2, -1);
                w3.forward(&(halves[0].silu() * &halves[1]))
            }
        }
    }
}

/// The same weights with blocks named `blocks.<index>`. DINOv2's training files name them
/// `blocks.<chunk>.<index>`, where the index counts through all chunks.
pub fn unchunked(weights: &Weights) -> Weights {
    weights.renamed(|name| {
        let mut parts = name.splitn(4, '.');
        let (Some("blocks"), Some(chunk), Some(index), Some(rest)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Some(name.to_owned());
        };
        let numbers = chunk.parse::<u32>().is_ok() && index.parse::<u32>().is_ok();
        Some(if numbers {
            format!("blocks.{index}.{rest}")
        } else {
            name.to_owned()
        })
    })
}

#[cfg(test)]
mod tests;

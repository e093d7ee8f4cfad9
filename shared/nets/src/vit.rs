//! Vision transformers with upstream's flat names: DINO, MoCo v3, iBOT and DINOv2 (spec §2.2,
//! §2.3).

pub mod positions;

use crate::{
    NetError, Weights,
    layers::{Activation, LayerNorm, Linear, attend, cast_like},
    weights::{Loading, blueprint},
};
use positions::Interpolation;
use tch::{Device, Kind, Tensor};

/// The layer between the two residual sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// fc1, GELU, fc2; the hidden layer is this many times as wide.
    Mlp {
        /// Hidden width over width.
        ratio: i64,
    },
    /// DINOv2 ViT-g: `w3(silu(a) · b)` with a and b the halves of `w12`.
    SwiGlu,
}

/// A vision transformer by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VitConfig {
    /// Patch side in pixels.
    pub patch: i64,
    /// Width.
    pub dim: i64,
    /// Blocks.
    pub depth: i64,
    /// Attention heads.
    pub heads: i64,
    /// Feed-forward layer.
    pub feed_forward: FeedForward,
    /// Whether branches are scaled by `ls1.gamma` and `ls2.gamma` (DINOv2).
    pub layer_scale: bool,
    /// Register tokens between class token and patches.
    pub registers: i64,
    /// Side of the grid of stored positions.
    pub grid: i64,
    /// How positions are resampled to another grid.
    pub interpolation: Interpolation,
}

/// Every published ViT here uses it.
const LAYER_NORM_EPS: f64 = 1e-6;

impl VitConfig {
    /// DINO, MoCo v3 and iBOT at patch 16 and 224 pixels.
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
    /// DINOv2 at patch 14, trained at 518 pixels.
    pub const fn dinov2(dim: i64, depth: i64, heads: i64, feed_forward: FeedForward) -> Self {
        Self {
            patch: 14,
            feed_forward,
            layer_scale: true,
            grid: 37,
            ..Self::dino(dim, depth, heads)
        }
    }
    /// The same with registers; such models resample positions in another way.
    pub const fn with_registers(self, registers: i64) -> Self {
        Self {
            registers,
            interpolation: Interpolation::Antialias,
            ..self
        }
    }
    /// The numbers of a plain ViT, read from its weights; `heads` is a tensor of its own there, 64
    /// values a head without it.
    ///
    /// # Errors
    /// When the weights are no ViT's.
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
            let grid = ((shape("pos_embed", 3)?[1] - 1) as f64).sqrt() as i64;
            let depth = weights
                .iter()
                .filter(|(name, _)| name.ends_with(".norm1.weight"))
                .count() as i64;
            let heads = weights
                .get("heads")
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
                "the file is no vision transformer with `patch_embed`, `pos_embed` and `blocks`",
            )
        })
    }
    /// Hidden width of the feed-forward layer.
    pub fn hidden(&self) -> i64 {
        match self.feed_forward {
            FeedForward::Mlp { ratio } => self.dim * ratio,
            // Two thirds of the usual width, rounded up to a multiple of 8.
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

/// A vision transformer, ready to compute.
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

/// Called with the name and value of every intermediate result.
pub type Trace<'a> = &'a mut dyn FnMut(&str, &Tensor);

impl Vit {
    /// Loads a network.
    ///
    /// # Errors
    /// When the weights are another network's.
    pub fn load(
        weights: &Weights,
        config: VitConfig,
        kind: Kind,
        device: Device,
    ) -> Result<Self, NetError> {
        let weights = &unchunked(weights);
        let from = weights.load(kind, device);
        let net = Self::assemble(&from, config);
        // Masks of the training objectives, and iBOT's separate norm.
        from.ignore(|name| {
            matches!(name, "mask_token" | "masked_embed" | "heads") || name.starts_with("fc_norm.")
        });
        from.finish(&format!(
            "a ViT of width {}, {} blocks, patch {}",
            config.dim, config.depth, config.patch
        ))?;
        Ok(net)
    }

    /// Names and shapes of its tensors.
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

    /// Its numbers.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Features \[n, dim\]: the class token after the last norm, of normalised images \[n, 3, h,
    /// w\].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.tokens(x, &mut |_, _| {}).select(1, 0)
    }

    /// Mean of the patch tokens under a norm of its own, without the last norm: iBOT's
    /// `use_mean_pooling`.
    pub fn forward_mean(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        let tokens = self.body(x, &mut |_, _| {});
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

    /// All tokens \[n, 1 + registers + patches, dim\] after the last norm; `trace` sees
    /// `patch_embed`, `pos`, `tokens`, `block<i>`.
    pub fn tokens(&self, x: &Tensor, trace: Trace<'_>) -> Tensor {
        self.norm.forward(&self.body(x, trace))
    }

    fn body(&self, x: &Tensor, trace: Trace<'_>) -> Tensor {
        let mut tokens = self.embed(x, trace);
        trace("tokens", &tokens);
        for (index, block) in self.blocks.iter().enumerate() {
            tokens = block.forward(&tokens, self.config.heads);
            trace(&format!("block{index}"), &tokens);
        }
        tokens
    }

    fn embed(&self, x: &Tensor, trace: Trace<'_>) -> Tensor {
        let patch = self.config.patch;
        let x = cast_like(x, &self.patch_weight);
        let (n, _, height, width) = x.size4().expect("invariant: images have four axes");
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
        let class = self.cls_token.expand([n, 1, self.config.dim], false);
        let tokens = Tensor::cat(&[class, patches], 1) + positions;
        match &self.register_tokens {
            None => tokens,
            // Registers have no position.
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
                    // timm renames the two layers.
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
                let halves = w12.forward(x).chunk(2, -1);
                w3.forward(&(halves[0].silu() * &halves[1]))
            }
        }
    }
}

/// The same weights with plain names: DINOv2's training files number blocks as
/// `blocks.<chunk>.<index>`; the index alone counts.
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

//! The layers that the networks share: tensors under upstream names and a forward pass for
//! inference.

use crate::weights::Loading;
use tch::{Kind, Tensor};

/// A linear layer: `weight` \[out, in\], `bias` \[out\].
#[derive(Debug)]
pub(crate) struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
}

impl Linear {
    pub fn load(from: &Loading<'_>, name: &str, dim_in: i64, dim_out: i64) -> Self {
        let weight = from.take(&format!("{name}.weight"), &[dim_out, dim_in]);
        Self {
            weight,
            bias: Some(from.take(&format!("{name}.bias"), &[dim_out])),
        }
    }
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// Layer normalisation over the last axis.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    dim: i64,
    eps: f64,
}

impl LayerNorm {
    pub fn load(from: &Loading<'_>, name: &str, dim: i64, eps: f64) -> Self {
        let (weight, bias) = (
            from.take(&format!("{name}.weight"), &[dim]),
            from.take(&format!("{name}.bias"), &[dim]),
        );
        Self {
            weight,
            bias,
            dim,
            eps,
        }
    }
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(
            [self.dim],
            Some(&self.weight),
            Some(&self.bias),
            self.eps,
            false,
        )
    }
}

/// Batch normalisation by its running statistics, as in `eval()`.
#[derive(Debug)]
pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: f64,
}

impl BatchNorm {
    pub fn load(from: &Loading<'_>, name: &str, dim: i64, eps: f64) -> Self {
        let take = |part: &str| from.take(&format!("{name}.{part}"), &[dim]);
        // PyTorch writes this counter since 0.4.1. Inference does not read it, and files from
        // before do not have it.
        from.ignore(|key| key.strip_prefix(name) == Some(".num_batches_tracked"));
        Self {
            weight: take("weight"),
            bias: take("bias"),
            mean: take("running_mean"),
            var: take("running_var"),
            eps,
        }
    }
    /// Weight \[out, in, kh, kw\] and bias \[out\] of one convolution that replaces a convolution
    /// without bias and this normalisation after it. Computed in float64, so that only the last
    /// rounding differs from doing both.
    pub fn folded_into(&self, weight: &Tensor) -> (Tensor, Tensor) {
        let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
        let factor = double(&self.weight) / (double(&self.var) + self.eps).sqrt();
        let bias = double(&self.bias) - double(&self.mean) * &factor;
        let folded = double(weight) * factor.view([-1, 1, 1, 1]);
        // γ / √(σ² + ε) goes into the weight, β − μ γ / √(σ² + ε) into the bias.
        (folded.to_kind(weight.kind()), bias.to_kind(weight.kind()))
    }
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.var),
            false,
            0.1, // momentum: has no effect outside training
            self.eps,
            false,
        )
    }
}

/// The same tensor \[n, c, h, w\] with channels innermost in memory. CPU convolutions work in that
/// layout and would otherwise reorder every input and output.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    // tch cannot ask for a memory format: a copy in the order n, h, w, c, seen as n, c, h, w.
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Activation of a transformer's MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activation {
    /// x Φ(x) by the error function, not by its tanh approximation.
    #[default]
    Gelu,
    /// x σ(1.702 x), which OpenAI's CLIP was trained with; OpenCLIP's own models use GELU.
    QuickGelu,
}

impl Activation {
    pub(crate) fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Activation::Gelu => x.gelu("none"),
            Activation::QuickGelu => x * (x * 1.702).sigmoid(),
        }
    }
}

/// Multi-head attention \[n, tokens, dim\] of `qkv` \[n, tokens, 3 · dim\], whose last axis holds
/// q, k and v in this order, each split into contiguous heads. Scores are divided by √(dim /
/// heads); with `causal`, a token sees only itself and those before it.
pub(crate) fn attend(qkv: &Tensor, heads: i64, causal: bool) -> Tensor {
    let (n, tokens, width) = qkv.size3().expect("invariant: tokens have three axes");
    let head_dim = width / 3 / heads;
    let qkv = qkv
        .reshape([n, tokens, 3, heads, head_dim])
        .permute([2, 0, 3, 1, 4]);
    // Each \[n, heads, tokens, head_dim\].
    let (q, k, v) = (qkv.get(0), qkv.get(1), qkv.get(2));
    // No mask, no dropout (0.0), and the default scale of 1 / √(head width).
    let out = Tensor::scaled_dot_product_attention(
        &q,
        &k,
        &v,
        None::<&Tensor>,
        0.0,
        causal,
        None::<f64>,
        false,
    );
    out.transpose(1, 2).reshape([n, tokens, width / 3])
}

/// Rows scaled to L2 norm 1 as by `torch.nn.functional.normalize`, whose lower bound of 1e-12 on
/// the norm leaves rows of zeros at zero.
pub fn normalise_rows(x: &Tensor) -> Tensor {
    // Clamped and not added to: 1e-12 must not change the norm of any other row.
    x / x.norm_scalaropt_dim(2.0, [-1], true).clamp_min(1e-12)
}

/// `x` in the precision and on the device of a network, given by one of its tensors.
pub(crate) fn cast_like(x: &Tensor, like: &Tensor) -> Tensor {
    x.to_device(like.device()).to_kind(like.kind())
}

/// The tensor as contiguous float32 on the CPU.
pub(crate) fn to_host(x: &Tensor) -> Tensor {
    x.to_kind(Kind::Float)
        .to_device(tch::Device::Cpu)
        .contiguous()
}

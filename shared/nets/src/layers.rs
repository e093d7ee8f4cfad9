//! Layers as the networks here use them: tensors under upstream names, a forward pass, nothing
//! else.

use crate::weights::Loading;
use tch::{Kind, Tensor};

/// `weight` \[out, in\], `bias` \[out\].
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

/// Batch normalisation with its running statistics.
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
        // Older files count no batches; the number is not needed.
        from.ignore(|key| key.strip_prefix(name) == Some(".num_batches_tracked"));
        Self {
            weight: take("weight"),
            bias: take("bias"),
            mean: take("running_mean"),
            var: take("running_var"),
            eps,
        }
    }
    /// A convolution's weight \[out, in, kh, kw\] and bias \[out\] that do what the convolution and
    /// this normalisation do one after the other; computed in float64, so that nothing is lost but
    /// the last rounding.
    pub fn folded_into(&self, weight: &Tensor) -> (Tensor, Tensor) {
        let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
        let factor = double(&self.weight) / (double(&self.var) + self.eps).sqrt();
        let bias = double(&self.bias) - double(&self.mean) * &factor;
        let folded = double(weight) * factor.view([-1, 1, 1, 1]);
        (folded.to_kind(weight.kind()), bias.to_kind(weight.kind()))
    }
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.var),
            false,
            0.1,
            self.eps,
            false,
        )
    }
}

/// The same \[n, c, h, w\] with channels innermost in memory: CPU convolutions then read and write
/// it as it is, instead of shuffling every input and output.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Activation of a transformer's MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activation {
    /// x Φ(x) with the error function.
    #[default]
    Gelu,
    /// x σ(1.702 x), in OpenAI's CLIP weights.
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

/// Multi-head attention over \[n, tokens, dim\]; `qkv` is \[n, tokens, 3 · dim\], ordered q, k, v,
/// heads contiguous.
pub(crate) fn attend(qkv: &Tensor, heads: i64, causal: bool) -> Tensor {
    let (n, tokens, width) = qkv.size3().expect("invariant: tokens have three axes");
    let head_dim = width / 3 / heads;
    let qkv = qkv
        .reshape([n, tokens, 3, heads, head_dim])
        .permute([2, 0, 3, 1, 4]);
    let (q, k, v) = (qkv.get(0), qkv.get(1), qkv.get(2));
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

/// Rows of L2 norm 1, as `torch.nn.functional.normalize` makes them.
pub fn normalise_rows(x: &Tensor) -> Tensor {
    x / x.norm_scalaropt_dim(2.0, [-1], true).clamp_min(1e-12)
}

/// The precision of a network, by one of its tensors.
pub(crate) fn cast_like(x: &Tensor, like: &Tensor) -> Tensor {
    x.to_device(like.device()).to_kind(like.kind())
}

/// float32 on the CPU, whatever it was.
pub(crate) fn to_host(x: &Tensor) -> Tensor {
    x.to_kind(Kind::Float)
        .to_device(tch::Device::Cpu)
        .contiguous()
}

//! The residual block of SongUNet, with optional attention (spec §7.3, "UNetBlock").

use super::layers::{Conv, ConvShape, GroupNorm, Linear, NEAR_ZERO_GAIN, Resample, UNIT_GAIN};
use super::{Mode, Part};
use crate::{layout::Layout, parameters::Views};
use std::f64::consts::FRAC_1_SQRT_2;
use tch::{Kind, Tensor};

/// The settings of one block.
#[derive(Clone, Copy, Debug)]
pub struct BlockShape<'a> {
    /// Number of input channels.
    pub cin: i64,
    /// Number of output channels.
    pub cout: i64,
    /// Width of the embedding that shifts the activations.
    pub embedding: i64,
    /// Whether self-attention follows the residual branch.
    pub attention: bool,
    /// Resampling of the input, on both branches.
    pub resample: Resample,
    /// Taps of the resampling filter.
    pub filter: &'a [f64],
    /// Dropout probability before the second convolution.
    pub dropout: f64,
}

/// A residual block: norm, SiLU, convolution, shift by the embedding, norm, SiLU, dropout,
/// convolution; then, optionally, attention.
#[derive(Clone, Debug)]
pub struct Block {
    /// Input channels; a decoder block that has more of them than its predecessor's output takes a
    /// skip connection.
    pub cin: i64,
    norm0: GroupNorm,
    conv0: Conv,
    affine: Linear,
    norm1: GroupNorm,
    conv1: Conv,
    skip: Option<Conv>,
    attention: Option<Attention>,
    dropout: f64,
}

impl Block {
    /// Registers the block's tensors below `name`.
    pub fn new(layout: &mut Layout, name: &str, shape: BlockShape<'_>) -> Self {
        let BlockShape {
            cin,
            cout,
            embedding,
            attention,
            resample,
            filter,
            dropout,
        } = shape;
        let conv = |kernel, gain, resample| ConvShape {
            kernel,
            gain,
            resample,
            filter,
            fused: false,
        };
        // Only the second convolution starts near zero: a fresh block is close to its skip branch.
        Self {
            cin,
            norm0: GroupNorm::new(layout, &format!("{name}.norm0"), cin),
            conv0: Conv::new(
                layout,
                &format!("{name}.conv0"),
                cin,
                cout,
                conv(3, UNIT_GAIN, resample),
            ),
            affine: Linear::new(layout, &format!("{name}.affine"), embedding, cout, true),
            norm1: GroupNorm::new(layout, &format!("{name}.norm1"), cout),
            conv1: Conv::new(
                layout,
                &format!("{name}.conv1"),
                cout,
                cout,
                conv(3, NEAR_ZERO_GAIN, Resample::Keep),
            ),
            skip: (cin != cout || resample != Resample::Keep).then(|| {
                Conv::new(
                    layout,
                    &format!("{name}.skip"),
                    cin,
                    cout,
                    conv(1, UNIT_GAIN, resample),
                )
            }),
            attention: attention.then(|| Attention::new(layout, name, cout)),
            dropout,
        }
    }

    /// The block's output \[n, cout, h', w'\] for activations \[n, cin, h, w\] and the embedding
    /// \[n, e\], in the type of `x`; h' and w' are halved or doubled where the block resamples.
    pub fn forward(&self, views: &Views, x: &Tensor, embedding: &Tensor, mode: Mode) -> Tensor {
        let h = self
            .conv0
            .forward(views, &self.norm0.forward(views, x).silu());
        // The embedding is float32 at least; only its projection is cast to the activations' type.
        let shift = self
            .affine
            .forward(views, embedding)
            .to_kind(h.kind())
            .unsqueeze(-1)
            .unsqueeze(-1);
        // The shift comes before the norm, so that it changes channels relative to their group;
        // upstream's `adaptive_scale` (a factor and a shift after the norm) is off.
        let h = self.norm1.forward(views, &(h + shift)).silu();
        let h = if mode.train && self.dropout > 0.0 {
            dropout(&h, self.dropout, mode.part)
        } else {
            h
        };
        let h = self.conv1.forward(views, &h);
        // √½ keeps the variance of a sum of two branches of variance 1 at 1 (spec §16.3); upstream
        // calls it `skip_scale`.
        let x = match &self.skip {
            Some(skip) => (h + skip.forward(views, x)) * FRAC_1_SQRT_2,
            None => (h + x) * FRAC_1_SQRT_2,
        };
        // Attention follows as a residual branch of its own, not in parallel.
        match &self.attention {
            Some(attention) => attention.forward(views, &x),
            None => x,
        }
    }
}

/// Activations with a share `p` of them dropped and the others scaled up. Those of a part get the
/// factors that the whole round would have given them.
fn dropout(h: &Tensor, p: f64, part: Option<Part>) -> Tensor {
    let Some(Part { first, of }) = part else {
        return h.dropout(p, true);
    };
    let [images, channels, height, width] = h.size()[..] else {
        unreachable!("invariant: activations have four dimensions");
    };
    // Random numbers are drawn in the order of memory, so the factors need the layout of `h`.
    let ones = |size: [i64; 4]| Tensor::ones(size, (h.kind(), h.device()));
    let factors = tch::no_grad(|| match h.stride()[1] == 1 {
        true => ones([of, height, width, channels])
            .dropout(p, true)
            .permute([0, 3, 1, 2]),
        false => ones([of, channels, height, width]).dropout(p, true),
    });
    h * factors.narrow(0, first, images)
}

/// Self-attention over all pixels with one head, after a group norm, with a residual connection.
#[derive(Clone, Debug)]
struct Attention {
    norm: GroupNorm,
    qkv: Conv,
    proj: Conv,
}

impl Attention {
    fn new(layout: &mut Layout, name: &str, channels: i64) -> Self {
        let conv = |gain| ConvShape {
            kernel: 1,
            gain,
            resample: Resample::Keep,
            filter: &[],
            fused: false,
        };
        Self {
            norm: GroupNorm::new(layout, &format!("{name}.norm2"), channels),
            qkv: Conv::new(
                layout,
                &format!("{name}.qkv"),
                channels,
                3 * channels,
                conv(0.2f64.sqrt()), // upstream's `init_attn` (spec §7.3)
            ),
            proj: Conv::new(
                layout,
                &format!("{name}.proj"),
                channels,
                channels,
                conv(NEAR_ZERO_GAIN),
            ),
        }
    }

    fn forward(&self, views: &Views, x: &Tensor) -> Tensor {
        let size = x.size();
        let (n, channels, pixels) = (size[0], size[1], size[2] * size[3]);
        let kind = x.kind();
        // Output channel 3c + i of `qkv` is channel c of q, k or v (spec §16.2).
        let qkv = self
            .qkv
            .forward(views, &self.norm.forward(views, x))
            .reshape([n, channels, 3, pixels])
            .unbind(2);
        let (q, k, v) = (&qkv[0], &qkv[1], &qkv[2]);
        // The product of queries and keys and its softmax are float32 at least, whatever the
        // activations are.
        let wide = if kind == Kind::Double {
            Kind::Double
        } else {
            Kind::Float
        };
        let scores = q
            .to_kind(wide)
            .transpose(1, 2)
            .bmm(&(k.to_kind(wide) / (channels as f64).sqrt()));
        let weights = scores.softmax(-1, wide).to_kind(kind);
        let mixed = v.bmm(&weights.transpose(1, 2)).reshape(&size);
        (self.proj.forward(views, &mixed) + x) * FRAC_1_SQRT_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Parameters;
    use tch::Device;

    #[test]
    fn the_embedding_stays_float32_when_activations_are_bfloat16() {
        let mut layout = Layout::default();
        let shape = BlockShape {
            cin: 4,
            cout: 4,
            embedding: 2,
            attention: false,
            resample: Resample::Keep,
            filter: &[],
            dropout: 0.0,
        };
        let block = Block::new(&mut layout, "b", shape);
        let weights = Parameters::zeros(&layout, Kind::Float, Device::Cpu);
        for (entry, tensor) in layout.entries.iter().zip(weights.tensors(&layout)) {
            let mut tensor = tensor;
            match entry.name.as_str() {
                "b.norm0.weight" | "b.norm1.weight" | "b.conv1.weight" => drop(tensor.fill_(1.0)),
                // Channels 1 and 3 see the difference of two numbers that bfloat16 cannot tell
                // apart.
                "b.affine.weight" => tensor.copy_(
                    &Tensor::from_slice(&[0f32, 0.0, 1e4, -1e4, 0.0, 0.0, -1e4, 1e4]).view([4, 2]),
                ),
                _ => {}
            }
        }
        let embedding = Tensor::from_slice(&[1.001f32, 1.0]).view([1, 2]);
        let x = Tensor::zeros([1, 4, 1, 1], (Kind::Float, Device::Cpu));
        let run = |kind: Kind| {
            let views = weights.views(&layout, Some(kind).filter(|kind| *kind != Kind::Float));
            block
                .forward(&views, &x.to_kind(kind), &embedding, Mode::EVAL)
                .get(0)
                .double_value(&[0, 0, 0])
        };
        let (single, short) = (run(Kind::Float), run(Kind::BFloat16));
        assert!(single > 0.5, "{single}");
        assert!(
            (short / single - 1.0).abs() < 0.02,
            "{short} instead of {single}"
        );
    }
}

//! SongUNet (DDPM++ and NCSN++) under EDM preconditioning, after Karras et al. 2022 (spec §7.1,
//! §7.3, appendix A).
//!
//! A [`Network`] is pure structure: it owns no numbers, only the names and shapes of its tensors
//! ([`Layout`]) and the way they act. The numbers come as [`Views`] of one flat buffer, in float32
//! or float64.

mod block;
mod build;
mod embedding;
mod layers;
mod resample;

pub use embedding::{one_hot, positional_features};

use crate::{
    DiffusionError,
    architecture::{Architecture, group_count},
    layout::{Fill, Layout},
    parameters::Views,
    precondition::{Coefficients, Preconditioning},
};
use block::Block;
use build::{build_decoder, build_encoder};
use embedding::Mapping;
use layers::{Conv, GroupNorm};
use resample::Resampler;
use std::f64::consts::FRAC_1_SQRT_2;
use tch::{Kind, Tensor};

/// One module of the encoder.
#[derive(Clone, Debug)]
enum EncoderModule {
    /// First convolution of the finest level.
    Conv(Conv),
    /// Residual block, with attention where its level has it.
    Block(Block),
    /// Halves the resolution of the image (skip encoder).
    ImageDown(Resampler),
    /// Adds the image through a 1×1 convolution (skip encoder).
    ImageSkip(Conv),
    /// Convolves the image down a level and adds it (residual encoder).
    Residual(Conv),
}

/// One module of the decoder.
#[derive(Clone, Debug)]
enum DecoderModule {
    /// Residual block, with attention where its level has it.
    Block(Block),
    /// Doubles the resolution of the output image so far (skip decoder).
    ImageUp(Resampler),
    /// Adds to the output image: norm, SiLU, convolution, with the norm's upstream name.
    Image {
        norm: (String, GroupNorm),
        conv: Conv,
    },
}

/// How a forward pass is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Whether dropout is active.
    pub train: bool,
    /// Type of the activations inside the U-Net; `None` for the type of the input.
    pub activations: Option<Kind>,
    /// Whether activations are laid out with channels innermost, which convolutions on tensor
    /// cores prefer.
    pub channels_last: bool,
    /// The images as a part of a larger round, for which dropout is drawn; `None` for a whole one.
    pub part: Option<Part>,
}

/// Some images of a round that did not fit into memory as a whole. Dropout is drawn for the whole
/// round and cut, so that its numbers do not depend on the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first image of this part in its round.
    pub first: i64,
    /// Images of the whole round.
    pub of: i64,
}

impl Mode {
    /// Evaluation: no dropout, activations in the type of the input.
    pub const EVAL: Mode = Mode {
        train: false,
        activations: None,
        channels_last: false,
        part: None,
    };
}

/// The labels of a forward pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labels<'a> {
    /// Class labels \[n, L\]; `None` means a row of zeros, the missing label of a conditional
    /// network.
    pub class: Option<&'a Tensor>,
    /// Augmentation labels \[n, A\]; `None` skips that branch, as in sampling.
    pub augment: Option<&'a Tensor>,
}

/// SongUNet under EDM preconditioning, without its numbers.
#[derive(Clone, Debug)]
pub struct Network {
    /// The arguments it was built from.
    pub architecture: Architecture,
    /// Names, shapes and initial distributions of its tensors.
    pub layout: Layout,
    mapping: Mapping,
    encoder: Vec<(String, EncoderModule)>,
    decoder: Vec<(String, DecoderModule)>,
}

impl Network {
    /// Builds the network's structure and registers its tensors.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for an architecture that cannot be built.
    pub fn new(architecture: Architecture) -> Result<Self, DiffusionError> {
        architecture.check()?;
        let mut layout = Layout::default();
        let mapping = Mapping::new(&mut layout, &architecture);
        let (encoder, widths, width) = build_encoder(&mut layout, &architecture);
        let decoder = build_decoder(&mut layout, &architecture, widths, width);
        // Group norms are the tensors that start as ones; each must divide into its groups.
        for entry in layout
            .entries
            .iter()
            .filter(|entry| entry.fill == Fill::Ones)
        {
            let (channels, groups) = (entry.numel(), group_count(entry.numel()));
            if channels % groups != 0 {
                let found = format!(
                    "{} with channel_mult {:?}",
                    architecture.model_channels, architecture.channel_mult
                );
                let expected = format!(
                    "widths that divide into groups: {} has {channels} channels for {groups} groups",
                    entry.name
                );
                return Err(DiffusionError::Setting {
                    field: "model_channels",
                    found,
                    expected,
                });
            }
        }
        Ok(Self {
            architecture,
            layout,
            mapping,
            encoder,
            decoder,
        })
    }

    /// The raw U-Net F of images \[n, c, r, r\] and c_noise \[n\]: \[n, c, r, r\] in the type of
    /// the activations. `tap` is called with every module's output under its upstream name.
    ///
    /// A decoder block whose float16 output is not finite is computed again in float32, in which
    /// the decoder then continues (spec §7.4). The check waits for the device, so it is made once,
    /// on the output; only if that overflowed is the pass repeated with a check after every block.
    pub fn unet(
        &self,
        views: &Views,
        x: &Tensor,
        c_noise: &Tensor,
        labels: Labels<'_>,
        mode: Mode,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Tensor {
        let embedding = self
            .mapping
            .forward(views, c_noise, labels.class, labels.augment, tap);
        let x = x.to_kind(mode.activations.unwrap_or_else(|| x.kind()));
        let out = self.forward(views, &x, &embedding, mode, false, tap);
        // float32 and bfloat16 have the range to hold any activation; only float16 can overflow.
        if x.kind() == Kind::Half && !all_finite(&out) {
            return self.forward(views, &x, &embedding, mode, true, tap);
        }
        out
    }

    /// Encoder and decoder. The embedding stays in its own type, float32 at least (spec §7.4).
    /// `rescue` checks every decoder block for a float16 overflow.
    fn forward(
        &self,
        views: &Views,
        x: &Tensor,
        embedding: &Tensor,
        mode: Mode,
        rescue: bool,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Tensor {
        let mut x = x.shallow_clone();
        if mode.channels_last {
            // Same shape and values, but with the strides of channels-last.
            x = x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        }
        let skips = self.encode(views, x, embedding, mode, tap);
        self.decode(views, skips, embedding, mode, rescue, tap)
    }

    /// The outputs of the encoder that the decoder takes as skip connections, the deepest last.
    fn encode(
        &self,
        views: &Views,
        x: Tensor,
        embedding: &Tensor,
        mode: Mode,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Vec<Tensor> {
        let mut x = x;
        let mut image = x.shallow_clone();
        let mut skips: Vec<Tensor> = Vec::with_capacity(self.encoder.len());
        for (name, module) in &self.encoder {
            // What joins from the image changes the output of the module before it, whose skip
            // connection it therefore replaces.
            let replaces_skip = matches!(
                module,
                EncoderModule::ImageSkip(_) | EncoderModule::Residual(_)
            );
            match module {
                EncoderModule::Conv(conv) => x = conv.forward(views, &x),
                EncoderModule::Block(block) => x = block.forward(views, &x, embedding, mode),
                EncoderModule::ImageDown(down) => {
                    image = down.forward(views, &image);
                    tap(name, &image);
                    continue;
                }
                EncoderModule::ImageSkip(conv) => {
                    let joining = conv.forward(views, &image);
                    tap(name, &joining);
                    x = &x + joining;
                }
                EncoderModule::Residual(conv) => {
                    let joining = conv.forward(views, &image);
                    tap(name, &joining);
                    x = (x + joining) * FRAC_1_SQRT_2;
                    image = x.shallow_clone();
                }
            }
            if replaces_skip {
                skips.pop();
            } else {
                tap(name, &x);
            }
            skips.push(x.shallow_clone());
        }
        skips
    }

    /// The raw output F \[n, c, r, r\] from the encoder's outputs.
    fn decode(
        &self,
        views: &Views,
        mut skips: Vec<Tensor>,
        embedding: &Tensor,
        mode: Mode,
        rescue: bool,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Tensor {
        let mut x = skips
            .last()
            .expect("invariant: the encoder has at least one module")
            .shallow_clone();
        let mut out: Option<Tensor> = None;
        for (name, module) in &self.decoder {
            match module {
                DecoderModule::Block(block) => {
                    // Upstream decides by the number of channels too: `in0`, `in1` and up blocks
                    // take none.
                    if x.size()[1] != block.cin {
                        let skip = skips.pop().expect(
                            "invariant: the decoder takes one skip for every encoder output",
                        );
                        x = Tensor::cat(&[&x, &skip], 1);
                    }
                    let mut output = block.forward(views, &x, embedding, mode);
                    if rescue && output.kind() == Kind::Half && !all_finite(&output) {
                        // From here on `x` is float32, and so are the blocks that follow.
                        output = block.forward(views, &x.to_kind(Kind::Float), embedding, mode);
                    }
                    x = output;
                    tap(name, &x);
                }
                DecoderModule::ImageUp(up) => {
                    let doubled = up.forward(
                        views,
                        &out.expect("invariant: a coarser level made an image"),
                    );
                    tap(name, &doubled);
                    out = Some(doubled);
                }
                DecoderModule::Image { norm, conv } => {
                    let normed = norm.1.forward(views, &x);
                    tap(&norm.0, &normed);
                    let image = conv.forward(views, &normed.silu());
                    tap(name, &image);
                    out = Some(match out {
                        Some(coarser) => image + coarser,
                        None => image,
                    });
                }
            }
        }
        out.expect("invariant: the finest level makes an image")
    }

    /// The denoiser D(x; σ) = c_skip x + c_out F(c_in x; c_noise) for noisy images \[n, c, r, r\]
    /// and noise levels `sigma` \[n\] or \[1\]: the clean images \[n, c, r, r\] in the type of `x`
    /// (EDM, eq. 7; spec §7.1).
    pub fn denoise(
        &self,
        views: &Views,
        x: &Tensor,
        sigma: &Tensor,
        labels: Labels<'_>,
        mode: Mode,
    ) -> Tensor {
        let n = x.size()[0];
        let sigma = sigma.to_kind(x.kind()).reshape([-1]).expand([n], false);
        let Coefficients {
            c_skip,
            c_out,
            c_in,
            c_noise,
        } = Preconditioning {
            sigma_data: self.architecture.sigma_data,
        }
        .at(&sigma);
        let per_image = |t: Tensor| t.reshape([-1, 1, 1, 1]);
        let raw = self
            .unet(
                views,
                &(per_image(c_in) * x),
                &c_noise,
                labels,
                mode,
                &mut |_, _| (),
            )
            .to_kind(x.kind());
        per_image(c_skip) * x + per_image(c_out) * raw
    }
}

/// Whether no element is infinite or NaN. Waits for the device.
fn all_finite(x: &Tensor) -> bool {
    x.isfinite().all().int64_value(&[]) == 1
}

//! SongUNet (DDPM++ and NCSN++) under EDM preconditioning, after Karras et al. 2022 (spec §7.1,
//! §7.3, appendix A).
//!
//! A [`Network`] is pure structure: it owns no numbers, only the names and shapes of its tensors
//! ([`Layout`]) and the way they act. The numbers come as [`Views`] of one flat buffer, in float32
//! or float64.

mod block;
mod embedding;
mod layers;
mod resample;

pub use embedding::{one_hot, positional_features};

use crate::{
    DiffusionError,
    architecture::{Architecture, ImagePath, group_count},
    layout::{Fill, Layout},
    parameters::Views,
    precondition::{Coefficients, Preconditioning},
};
use block::{Block, BlockShape};
use embedding::Mapping;
use layers::{Conv, ConvShape, GroupNorm, NEAR_ZERO, PLAIN, Resample};
use resample::Resampler;
use std::f64::consts::FRAC_1_SQRT_2;
use tch::{Kind, Tensor};

/// One module of the encoder.
#[derive(Clone, Debug)]
enum Stage {
    /// First convolution of the finest level.
    Conv(Conv),
    /// Residual block.
    Block(Block),
    /// The image goes down a level (skip encoder).
    ImageDown(Resampler),
    /// It joins through a 1×1 convolution (skip encoder).
    ImageSkip(Conv),
    /// It joins on its way down (residual encoder).
    Residual(Conv),
}

/// One module of the decoder.
#[derive(Clone, Debug)]
enum Rise {
    /// Residual block.
    Block(Block),
    /// The image so far goes up a level (skip decoder).
    ImageUp(Resampler),
    /// What the level says of the image: norm, then convolution, each with its name.
    Image {
        norm: (String, GroupNorm),
        conv: Conv,
    },
}

/// How a forward pass runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Dropout acts.
    pub train: bool,
    /// Type of the activations inside the U-Net; `None` for that of the weights.
    pub activations: Option<Kind>,
    /// Activations with channels innermost.
    pub channels_last: bool,
}

impl Mode {
    /// No dropout, full precision.
    pub const EVAL: Mode = Mode {
        train: false,
        activations: None,
        channels_last: false,
    };
}

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    /// What it was built from.
    pub architecture: Architecture,
    /// Its tensors.
    pub layout: Layout,
    mapping: Mapping,
    encoder: Vec<(String, Stage)>,
    decoder: Vec<(String, Rise)>,
}

impl Network {
    /// Builds the structure.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for an architecture that cannot be built.
    pub fn new(architecture: Architecture) -> Result<Self, DiffusionError> {
        architecture.check()?;
        let mut layout = Layout::default();
        let mapping = Mapping::new(&mut layout, &architecture);
        let (encoder, widths, width) = build_encoder(&mut layout, &architecture);
        let decoder = build_decoder(&mut layout, &architecture, widths, width);
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

    /// The raw U-Net F: \[n, c, r, r\], c_noise \[n\] → \[n, c, r, r\]. `tap` sees every module's
    /// output under its upstream name.
    ///
    /// A decoder block whose float16 output is not finite is computed again in float32, in which
    /// the decoder then goes on (spec §7.4). Looking costs a wait for the device, so float16 is
    /// looked at once, at its end, and block by block only then.
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
        let out = self.pass(views, &x, &embedding, mode, false, tap);
        if x.kind() == Kind::Half && !all_finite(&out) {
            return self.pass(views, &x, &embedding, mode, true, tap);
        }
        out
    }

    /// Encoder and decoder. The embedding stays in its own type, float32 at least (spec §7.4).
    /// `rescue` looks at every decoder block for float16 that overflowed.
    fn pass(
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
            x = x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        }
        let mut image = x.shallow_clone();
        let mut skips: Vec<Tensor> = Vec::with_capacity(self.encoder.len());
        for (name, stage) in &self.encoder {
            let replaces_skip = matches!(stage, Stage::ImageSkip(_) | Stage::Residual(_));
            match stage {
                Stage::Conv(conv) => x = conv.forward(views, &x),
                Stage::Block(block) => x = block.forward(views, &x, embedding, mode.train),
                Stage::ImageDown(down) => {
                    image = down.forward(views, &image);
                    tap(name, &image);
                    continue;
                }
                Stage::ImageSkip(conv) => {
                    let seen = conv.forward(views, &image);
                    tap(name, &seen);
                    x = &x + seen;
                }
                Stage::Residual(conv) => {
                    let seen = conv.forward(views, &image);
                    tap(name, &seen);
                    x = (x + seen) * FRAC_1_SQRT_2;
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
        let mut out: Option<Tensor> = None;
        for (name, rise) in &self.decoder {
            match rise {
                Rise::Block(block) => {
                    if x.size()[1] != block.cin {
                        let skip = skips.pop().expect(
                            "invariant: the decoder takes one skip for every encoder output",
                        );
                        x = Tensor::cat(&[&x, &skip], 1);
                    }
                    let mut risen = block.forward(views, &x, embedding, mode.train);
                    if rescue && risen.kind() == Kind::Half && !all_finite(&risen) {
                        risen =
                            block.forward(views, &x.to_kind(Kind::Float), embedding, mode.train);
                    }
                    x = risen;
                    tap(name, &x);
                }
                Rise::ImageUp(up) => {
                    let risen = up.forward(
                        views,
                        &out.expect("invariant: a coarser level made an image"),
                    );
                    tap(name, &risen);
                    out = Some(risen);
                }
                Rise::Image { norm, conv } => {
                    let normed = norm.1.forward(views, &x);
                    tap(&norm.0, &normed);
                    let said = conv.forward(views, &normed.silu());
                    tap(name, &said);
                    out = Some(match out {
                        Some(coarser) => said + coarser,
                        None => said,
                    });
                }
            }
        }
        out.expect("invariant: the finest level makes an image")
    }

    /// The denoiser D(x; sigma): \[n, c, r, r\], sigma \[n\] or \[1\] → \[n, c, r, r\] in the type
    /// of `x`.
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

/// Waits for the device: asked of float16 alone.
fn all_finite(x: &Tensor) -> bool {
    x.isfinite().all().int64_value(&[]) == 1
}

/// What a forward pass is conditioned on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labels<'a> {
    /// Class labels \[n, L\]; absent means a row of zeros.
    pub class: Option<&'a Tensor>,
    /// Augmentation labels \[n, A\]; absent skips the branch (sampling).
    pub augment: Option<&'a Tensor>,
}

fn build_encoder(
    layout: &mut Layout,
    architecture: &Architecture,
) -> (Vec<(String, Stage)>, Vec<i64>, i64) {
    let filter = &architecture.resample_filter[..];
    let mut stages = Vec::new();
    let mut widths = Vec::new();
    let (mut width, mut image_width) = (architecture.channels, architecture.channels);
    for (level, mult) in architecture.channel_mult.iter().enumerate() {
        let side = architecture.resolution >> level;
        let plain = |kernel| ConvShape {
            kernel,
            gain: PLAIN,
            resample: Resample::Keep,
            filter,
            fused: false,
        };
        if level == 0 {
            let name = format!("model.enc.{side}x{side}_conv");
            let conv = Conv::new(layout, &name, width, architecture.model_channels, plain(3));
            width = architecture.model_channels;
            stages.push((name, Stage::Conv(conv)));
        } else {
            let name = format!("model.enc.{side}x{side}_down");
            let block = Block::new(
                layout,
                &name,
                block_shape(architecture, width, width, Resample::Down, false),
            );
            stages.push((name, Stage::Block(block)));
            match architecture.encoder {
                ImagePath::None => {}
                ImagePath::Skip => {
                    let name = format!("model.enc.{side}x{side}_aux_down");
                    let down = Resampler::new(layout, &name, filter, Resample::Down);
                    stages.push((name, Stage::ImageDown(down)));
                    let name = format!("model.enc.{side}x{side}_aux_skip");
                    let conv = Conv::new(layout, &name, image_width, width, plain(1));
                    stages.push((name, Stage::ImageSkip(conv)));
                }
                ImagePath::Residual => {
                    let name = format!("model.enc.{side}x{side}_aux_residual");
                    let shape = ConvShape {
                        resample: Resample::Down,
                        fused: true,
                        ..plain(3)
                    };
                    stages.push((
                        name.clone(),
                        Stage::Residual(Conv::new(layout, &name, image_width, width, shape)),
                    ));
                    image_width = width;
                }
            }
        }
        widths.push(width);
        for index in 0..architecture.num_blocks {
            let name = format!("model.enc.{side}x{side}_block{index}");
            let cout = architecture.model_channels * mult;
            let attention = architecture.attn_resolutions.contains(&side);
            let block = Block::new(
                layout,
                &name,
                block_shape(architecture, width, cout, Resample::Keep, attention),
            );
            stages.push((name, Stage::Block(block)));
            width = cout;
            widths.push(width);
        }
    }
    (stages, widths, width)
}

fn build_decoder(
    layout: &mut Layout,
    architecture: &Architecture,
    mut skips: Vec<i64>,
    mut width: i64,
) -> Vec<(String, Rise)> {
    let filter = &architecture.resample_filter[..];
    let mut modules = Vec::new();
    let coarsest = architecture.channel_mult.len() - 1;
    for (level, mult) in architecture.channel_mult.iter().enumerate().rev() {
        let side = architecture.resolution >> level;
        let name = |module: &str| format!("model.dec.{side}x{side}_{module}");
        let mut push = |layout: &mut Layout, module: &str, cin, cout, resample, attention| {
            let block = Block::new(
                layout,
                &name(module),
                block_shape(architecture, cin, cout, resample, attention),
            );
            modules.push((name(module), Rise::Block(block)));
        };
        if level == coarsest {
            // `in0` has attention at every resolution (spec §16.9).
            push(layout, "in0", width, width, Resample::Keep, true);
            push(layout, "in1", width, width, Resample::Keep, false);
        } else {
            push(layout, "up", width, width, Resample::Up, false);
        }
        for index in 0..=architecture.num_blocks {
            let skip = skips
                .pop()
                .expect("invariant: as many encoder outputs as decoder blocks");
            let attention =
                index == architecture.num_blocks && architecture.attn_resolutions.contains(&side);
            let cout = architecture.model_channels * mult;
            push(
                layout,
                &format!("block{index}"),
                width + skip,
                cout,
                Resample::Keep,
                attention,
            );
            width = cout;
        }
        if architecture.skip_decoder && level < coarsest {
            let up = Resampler::new(layout, &name("aux_up"), filter, Resample::Up);
            modules.push((name("aux_up"), Rise::ImageUp(up)));
        }
        if architecture.skip_decoder || level == 0 {
            let shape = ConvShape {
                kernel: 3,
                gain: NEAR_ZERO,
                resample: Resample::Keep,
                filter: &[],
                fused: false,
            };
            let norm = (
                name("aux_norm"),
                GroupNorm::new(layout, &name("aux_norm"), width),
            );
            let conv = Conv::new(
                layout,
                &name("aux_conv"),
                width,
                architecture.channels,
                shape,
            );
            modules.push((name("aux_conv"), Rise::Image { norm, conv }));
        }
    }
    modules
}

fn block_shape(
    architecture: &Architecture,
    cin: i64,
    cout: i64,
    resample: Resample,
    attention: bool,
) -> BlockShape<'_> {
    BlockShape {
        cin,
        cout,
        embedding: architecture.embedding_channels(),
        attention,
        resample,
        filter: &architecture.resample_filter,
        dropout: architecture.dropout,
    }
}

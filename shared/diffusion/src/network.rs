//! SongUNet (DDPM++ and NCSN++) under EDM preconditioning, after Karras et al. 2022 (spec §7.1, §7.3, appendix A).
//!
//! A [`Network`] is pure structure: it owns no numbers, only the names and shapes of its tensors ([`Layout`]) and the way they
//! act. The numbers come as [`Views`] of one flat buffer, in float32 or float64.

mod block;
mod embedding;
mod layers;

pub use embedding::{one_hot, positional_features};

use crate::{
    DiffusionError,
    architecture::{Architecture, group_count},
    layout::{Fill, Layout},
    parameters::Views,
    precondition::{Coefficients, Preconditioning},
};
use block::{Block, BlockShape};
use embedding::Mapping;
use layers::{Conv, ConvShape, GroupNorm, NEAR_ZERO, PLAIN, Resample};
use std::f64::consts::FRAC_1_SQRT_2;
use tch::{Kind, Tensor};

/// One module of the encoder.
#[derive(Clone, Debug)]
enum Stage {
    /// First convolution of the finest level.
    Conv(Conv),
    /// Residual block.
    Block(Block),
    /// The down-sampled image joins (residual encoder).
    Residual(Conv),
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
    decoder: Vec<(String, Block)>,
    aux_norm: GroupNorm,
    aux_conv: Conv,
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
        let (decoder, width) = build_decoder(&mut layout, &architecture, widths, width);
        let side = architecture.resolution;
        let aux_norm = GroupNorm::new(&mut layout, &format!("model.dec.{side}x{side}_aux_norm"), width);
        let aux_conv = Conv::new(
            &mut layout,
            &format!("model.dec.{side}x{side}_aux_conv"),
            width,
            architecture.channels,
            ConvShape {
                kernel: 3,
                gain: NEAR_ZERO,
                resample: Resample::Keep,
                filter: &[],
                fused: false,
            },
        );
        for entry in layout.entries.iter().filter(|entry| entry.fill == Fill::Ones) {
            let (channels, groups) = (entry.numel(), group_count(entry.numel()));
            if channels % groups != 0 {
                let found = format!("{} with channel_mult {:?}", architecture.model_channels, architecture.channel_mult);
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
            aux_norm,
            aux_conv,
        })
    }

    /// The raw U-Net F: \[n, c, r, r\], c_noise \[n\] → \[n, c, r, r\]. `tap` sees every module's output under its upstream name.
    pub fn unet(
        &self,
        views: &Views,
        x: &Tensor,
        c_noise: &Tensor,
        labels: Labels<'_>,
        mode: Mode,
        tap: &mut dyn FnMut(&str, &Tensor),
    ) -> Tensor {
        let embedding = self.mapping.forward(views, c_noise, labels.class, labels.augment, tap);
        let kind = mode.activations.unwrap_or_else(|| x.kind());
        let mut x = x.to_kind(kind);
        if mode.channels_last {
            x = x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        }
        let embedding = embedding.to_kind(kind);
        let mut image = x.shallow_clone();
        let mut skips: Vec<Tensor> = Vec::with_capacity(self.encoder.len());
        for (name, stage) in &self.encoder {
            match stage {
                Stage::Conv(conv) => x = conv.forward(views, &x),
                Stage::Block(block) => x = block.forward(views, &x, &embedding, mode.train),
                Stage::Residual(conv) => {
                    let seen = conv.forward(views, &image);
                    tap(name, &seen);
                    x = (x + seen) * FRAC_1_SQRT_2;
                    image = x.shallow_clone();
                    skips.pop();
                }
            }
            if !matches!(stage, Stage::Residual(_)) {
                tap(name, &x);
            }
            skips.push(x.shallow_clone());
        }
        for (name, block) in &self.decoder {
            if x.size()[1] != block.cin {
                let skip = skips.pop().expect("invariant: the decoder takes one skip for every encoder output");
                x = Tensor::cat(&[&x, &skip], 1);
            }
            x = block.forward(views, &x, &embedding, mode.train);
            tap(name, &x);
        }
        let side = self.architecture.resolution;
        let normed = self.aux_norm.forward(views, &x);
        tap(&format!("model.dec.{side}x{side}_aux_norm"), &normed);
        let out = self.aux_conv.forward(views, &normed.silu());
        tap(&format!("model.dec.{side}x{side}_aux_conv"), &out);
        out
    }

    /// The denoiser D(x; sigma): \[n, c, r, r\], sigma \[n\] or \[1\] → \[n, c, r, r\] in the type of `x`.
    pub fn denoise(&self, views: &Views, x: &Tensor, sigma: &Tensor, labels: Labels<'_>, mode: Mode) -> Tensor {
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
            .unet(views, &(per_image(c_in) * x), &c_noise, labels, mode, &mut |_, _| ())
            .to_kind(x.kind());
        per_image(c_skip) * x + per_image(c_out) * raw
    }
}

/// What a forward pass is conditioned on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Labels<'a> {
    /// Class labels \[n, L\]; absent means a row of zeros.
    pub class: Option<&'a Tensor>,
    /// Augmentation labels \[n, A\]; absent skips the branch (sampling).
    pub augment: Option<&'a Tensor>,
}

fn build_encoder(layout: &mut Layout, architecture: &Architecture) -> (Vec<(String, Stage)>, Vec<i64>, i64) {
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
            let block = Block::new(layout, &name, block_shape(architecture, width, width, Resample::Down, false));
            stages.push((name, Stage::Block(block)));
            if architecture.residual_encoder {
                let name = format!("model.enc.{side}x{side}_aux_residual");
                let shape = ConvShape {
                    resample: Resample::Down,
                    fused: true,
                    ..plain(3)
                };
                stages.push((name.clone(), Stage::Residual(Conv::new(layout, &name, image_width, width, shape))));
                image_width = width;
            }
        }
        widths.push(width);
        for index in 0..architecture.num_blocks {
            let name = format!("model.enc.{side}x{side}_block{index}");
            let cout = architecture.model_channels * mult;
            let attention = architecture.attn_resolutions.contains(&side);
            let block = Block::new(layout, &name, block_shape(architecture, width, cout, Resample::Keep, attention));
            stages.push((name, Stage::Block(block)));
            width = cout;
            widths.push(width);
        }
    }
    (stages, widths, width)
}

fn build_decoder(layout: &mut Layout, architecture: &Architecture, mut skips: Vec<i64>, mut width: i64) -> (Vec<(String, Block)>, i64) {
    let mut blocks = Vec::new();
    let mut push = |layout: &mut Layout, name: String, cin, cout, resample, attention| {
        let block = Block::new(layout, &name, block_shape(architecture, cin, cout, resample, attention));
        blocks.push((name, block));
    };
    for (level, mult) in architecture.channel_mult.iter().enumerate().rev() {
        let side = architecture.resolution >> level;
        if level + 1 == architecture.channel_mult.len() {
            // `in0` has attention at every resolution (spec §16.9).
            push(layout, format!("model.dec.{side}x{side}_in0"), width, width, Resample::Keep, true);
            push(layout, format!("model.dec.{side}x{side}_in1"), width, width, Resample::Keep, false);
        } else {
            push(layout, format!("model.dec.{side}x{side}_up"), width, width, Resample::Up, false);
        }
        for index in 0..=architecture.num_blocks {
            let skip = skips.pop().expect("invariant: as many encoder outputs as decoder blocks");
            let attention = index == architecture.num_blocks && architecture.attn_resolutions.contains(&side);
            let cout = architecture.model_channels * mult;
            push(
                layout,
                format!("model.dec.{side}x{side}_block{index}"),
                width + skip,
                cout,
                Resample::Keep,
                attention,
            );
            width = cout;
        }
    }
    (blocks, width)
}

fn block_shape(architecture: &Architecture, cin: i64, cout: i64, resample: Resample, attention: bool) -> BlockShape<'_> {
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

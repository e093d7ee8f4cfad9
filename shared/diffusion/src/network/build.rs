//! Builds SongUNet's modules level by level, in the order of the upstream state dict (spec §7.3,
//! appendix A).

use super::{
    DecoderModule, EncoderModule,
    block::{Block, BlockShape},
    layers::{Conv, ConvShape, GroupNorm, NEAR_ZERO_GAIN, Resample, UNIT_GAIN},
    resample::Resampler,
};
use crate::{
    architecture::{Architecture, ImagePath},
    layout::Layout,
};

/// The encoder's modules with their upstream names, the channels of every output that the decoder
/// will take as a skip connection, and the channels of the last one (spec appendix A).
pub(super) fn build_encoder(
    layout: &mut Layout,
    architecture: &Architecture,
) -> (Vec<(String, EncoderModule)>, Vec<i64>, i64) {
    let filter = &architecture.resample_filter[..];
    let mut modules = Vec::new();
    // Channels of the skip connections: one per module that is not an image module, so the first
    // convolution or down block counts like a block.
    let mut widths = Vec::new();
    let (mut width, mut image_width) = (architecture.channels, architecture.channels);
    for (level, mult) in architecture.channel_mult.iter().enumerate() {
        let side = architecture.resolution >> level;
        let plain = |kernel| ConvShape {
            kernel,
            gain: UNIT_GAIN,
            resample: Resample::Keep,
            filter,
            fused: false,
        };
        if level == 0 {
            let name = format!("model.enc.{side}x{side}_conv");
            // To the base width, whatever the level's multiplier: the first block widens it.
            let conv = Conv::new(layout, &name, width, architecture.model_channels, plain(3));
            width = architecture.model_channels;
            modules.push((name, EncoderModule::Conv(conv)));
        } else {
            let name = format!("model.enc.{side}x{side}_down");
            let block = Block::new(
                layout,
                &name,
                block_shape(architecture, width, width, Resample::Down, false),
            );
            modules.push((name, EncoderModule::Block(block)));
            match architecture.encoder {
                ImagePath::None => {}
                ImagePath::Skip => {
                    let name = format!("model.enc.{side}x{side}_aux_down");
                    let down = Resampler::new(layout, &name, filter, Resample::Down);
                    modules.push((name, EncoderModule::ImageDown(down)));
                    let name = format!("model.enc.{side}x{side}_aux_skip");
                    let conv = Conv::new(layout, &name, image_width, width, plain(1));
                    modules.push((name, EncoderModule::ImageSkip(conv)));
                }
                ImagePath::Residual => {
                    let name = format!("model.enc.{side}x{side}_aux_residual");
                    let shape = ConvShape {
                        resample: Resample::Down,
                        fused: true,
                        ..plain(3)
                    };
                    modules.push((
                        name.clone(),
                        EncoderModule::Residual(Conv::new(
                            layout,
                            &name,
                            image_width,
                            width,
                            shape,
                        )),
                    ));
                    // The next level convolves the sum, which has the width of this level.
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
            modules.push((name, EncoderModule::Block(block)));
            width = cout;
            widths.push(width);
        }
    }
    (modules, widths, width)
}

/// The decoder's modules with their upstream names. `skips` are the channels of the encoder's
/// outputs, which are taken from the last to the first; `width` is the channels it starts from.
pub(super) fn build_decoder(
    layout: &mut Layout,
    architecture: &Architecture,
    mut skips: Vec<i64>,
    mut width: i64,
) -> Vec<(String, DecoderModule)> {
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
            modules.push((name(module), DecoderModule::Block(block)));
        };
        if level == coarsest {
            // `in0` has attention whatever the resolution (spec §16.9).
            push(layout, "in0", width, width, Resample::Keep, true);
            push(layout, "in1", width, width, Resample::Keep, false);
        } else {
            push(layout, "up", width, width, Resample::Up, false);
        }
        // One block more than in the encoder: it takes the output of the level's first module (the
        // first convolution or the down block).
        for index in 0..=architecture.num_blocks {
            let skip = skips
                .pop()
                .expect("invariant: as many encoder outputs as decoder blocks");
            // In the decoder only the last block of a level has attention (spec §7.3).
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
            modules.push((name("aux_up"), DecoderModule::ImageUp(up)));
        }
        if architecture.skip_decoder || level == 0 {
            // Near-zero gain: a fresh network outputs almost nothing, so D(x) starts as c_skip x.
            let shape = ConvShape {
                kernel: 3,
                gain: NEAR_ZERO_GAIN,
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
            modules.push((name("aux_conv"), DecoderModule::Image { norm, conv }));
        }
    }
    modules
}

/// A residual block of this architecture with these channels.
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

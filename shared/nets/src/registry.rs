//! The network of each extractor in the catalogue. A new size of a known architecture is one row
//! here and one in the catalogue.

use crate::{
    clip::{Activation, TextConfig, VisionConfig},
    inception::resize::Rule,
    preprocess::{CLIP, IMAGENET, Preprocessing, Sizing},
    vit::{FeedForward, VitConfig},
};
use cedm_catalogue::extractors::{EXTRACTORS, Extractor as Row};

/// How an extractor computes its features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Architecture {
    /// The pixels themselves, scaled to −1 to 1.
    Pixels,
    /// Principal components of the pixels, fitted to the image set.
    Pca,
    /// [`crate::CifarResnet`] with this number of blocks in each stage.
    CifarResnet {
        /// Blocks in each of the three stages.
        blocks: i64,
    },
    /// [`crate::vit::Vit`]: DINO, MoCo v3, iBOT, DINOv2; the class token.
    Vit(VitConfig),
    /// The same with its sizes read from the weight file: what an adaptation trained.
    VitOfFile,
    /// [`crate::clip::ClipVision`]; the embedding, not normalised.
    Clip(VisionConfig),
    /// [`crate::inception::Inception`]; pooled features, and logits without the bias.
    InceptionFid(Rule),
    /// Any TorchScript module that maps images normalised by ImageNet's statistics \[n, 3, 224,
    /// 224\] to features \[n, dim\].
    TorchScript,
}

/// An extractor: its row in the catalogue, its network and its preprocessing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backbone {
    /// Its row in the catalogue: name, width, where its weights are published.
    pub row: &'static Row,
    /// Its network with all sizes.
    pub architecture: Architecture,
    /// Resizing and normalisation before it; absent where the network takes uint8 images itself.
    pub preprocessing: Option<Preprocessing>,
}

/// Both sides to 224 pixels, no crop: image sets are square, and the reference does not crop them
/// (spec §2.1). ImageNet's statistics for MoCo v3 too, where timm's defaults would suggest 0.5.
const SQUARE_224: Preprocessing = Preprocessing {
    sizing: Sizing::Square(224),
    statistics: IMAGENET,
};
const CLIP_224: Preprocessing = Preprocessing {
    sizing: Sizing::ShortThenCrop {
        short: 224,
        crop: 224,
    },
    statistics: CLIP,
};
const RESNET_32: Preprocessing = Preprocessing {
    sizing: Sizing::Square(32),
    statistics: IMAGENET,
};
const MLP4: FeedForward = FeedForward::Mlp { ratio: 4 };

/// The image tower of a CLIP at 224 pixels.
const fn clip(
    patch: i64,
    width: i64,
    layers: i64,
    head_width: i64,
    mlp_width: i64,
    embed_dim: i64,
    activation: Activation,
) -> Architecture {
    Architecture::Clip(VisionConfig {
        image: 224,
        patch,
        width,
        layers,
        head_width,
        mlp_width,
        embed_dim,
        activation,
    })
}

/// Architecture and preprocessing by name, sizes as published with the weights.
fn network(name: &str) -> Option<(Architecture, Option<Preprocessing>)> {
    use Activation::{Gelu, QuickGelu};
    use Architecture::Vit;
    Some(match name {
        "pixels" => (Architecture::Pixels, None),
        "pca" => (Architecture::Pca, None),
        "cifar_resnet56" => (Architecture::CifarResnet { blocks: 9 }, Some(RESNET_32)),
        "dino_vits16" => (Vit(VitConfig::dino(384, 12, 6)), Some(SQUARE_224)),
        // Patches of 8 pixels at 224: a grid of 28.
        "dino_vits8" => (
            Vit(VitConfig {
                patch: 8,
                grid: 28,
                ..VitConfig::dino(384, 12, 6)
            }),
            Some(SQUARE_224),
        ),
        "dino_vitb16" => (Vit(VitConfig::dino(768, 12, 12)), Some(SQUARE_224)),
        "dino_vitb8" => (
            Vit(VitConfig {
                patch: 8,
                grid: 28,
                ..VitConfig::dino(768, 12, 12)
            }),
            Some(SQUARE_224),
        ),
        // MoCo v3 gives its small one 12 heads of 32 values, not 6 of 64.
        "mocov3_vit_small" => (Vit(VitConfig::dino(384, 12, 12)), Some(SQUARE_224)),
        "mocov3_vit_base" => (Vit(VitConfig::dino(768, 12, 12)), Some(SQUARE_224)),
        "ibot_vit_small" => (Vit(VitConfig::dino(384, 12, 6)), Some(SQUARE_224)),
        "ibot_vit_base" => (Vit(VitConfig::dino(768, 12, 12)), Some(SQUARE_224)),
        "ibot_vit_large" => (Vit(VitConfig::dino(1024, 24, 16)), Some(SQUARE_224)),
        "dinov2_vits14" => (Vit(VitConfig::dinov2(384, 12, 6, MLP4)), Some(SQUARE_224)),
        "dinov2_vitb14" => (Vit(VitConfig::dinov2(768, 12, 12, MLP4)), Some(SQUARE_224)),
        "dinov2_vitl14" => (Vit(VitConfig::dinov2(1024, 24, 16, MLP4)), Some(SQUARE_224)),
        // Only the giant one has a gated feed-forward layer (spec §2.3).
        "dinov2_vitg14" => (
            Vit(VitConfig::dinov2(1536, 40, 24, FeedForward::SwiGlu)),
            Some(SQUARE_224),
        ),
        "dinov2_vits14_reg" => (
            Vit(VitConfig::dinov2(384, 12, 6, MLP4).with_registers(4)),
            Some(SQUARE_224),
        ),
        "dinov2_vitb14_reg" => (
            Vit(VitConfig::dinov2(768, 12, 12, MLP4).with_registers(4)),
            Some(SQUARE_224),
        ),
        "dinov2_vitl14_reg" => (
            Vit(VitConfig::dinov2(1024, 24, 16, MLP4).with_registers(4)),
            Some(SQUARE_224),
        ),
        "dinov2_vitg14_reg" => (
            Vit(VitConfig::dinov2(1536, 40, 24, FeedForward::SwiGlu).with_registers(4)),
            Some(SQUARE_224),
        ),
        // Patch, width, blocks, head width, MLP width, embedding; bigG has heads of 104.
        "openclip_vit_b32" => (clip(32, 768, 12, 64, 3072, 512, Gelu), Some(CLIP_224)),
        "openclip_vit_l14" => (clip(14, 1024, 24, 64, 4096, 768, Gelu), Some(CLIP_224)),
        "openclip_vit_bigg14" => (clip(14, 1664, 48, 104, 8192, 1280, Gelu), Some(CLIP_224)),
        // OpenAI's own: the same sizes, but trained with QuickGELU.
        "clip_vit_b32" => (clip(32, 768, 12, 64, 3072, 512, QuickGelu), Some(CLIP_224)),
        "clip_vit_l14" => (clip(14, 1024, 24, 64, 4096, 768, QuickGelu), Some(CLIP_224)),
        "inception_fid" => (Architecture::InceptionFid(Rule::Tensorflow), None),
        "inception_pytorch_fid" => (Architecture::InceptionFid(Rule::PytorchFid), None),
        "inception_clean_fid" => (Architecture::InceptionFid(Rule::CleanFid), None),
        "vit" => (Architecture::VitOfFile, None),
        "torchscript" => (Architecture::TorchScript, Some(SQUARE_224)),
        _ => return None,
    })
}

/// The text tower that belongs to this extractor's image tower; `None` for all but CLIPs.
pub fn text_tower(name: &str) -> Option<TextConfig> {
    let (width, layers) = match name {
        "openclip_vit_b32" | "clip_vit_b32" => (512, 12),
        "openclip_vit_l14" | "clip_vit_l14" => (768, 12),
        "openclip_vit_bigg14" => (1280, 32),
        _ => return None,
    };
    let Some((Architecture::Clip(vision), _)) = network(name) else {
        return None;
    };
    Some(TextConfig {
        width,
        layers,
        // Every published text tower has heads of 64 values.
        heads: width / 64,
        embed_dim: vision.embed_dim,
        activation: vision.activation,
    })
}

/// Every extractor, in the order of the catalogue.
pub fn extractors() -> impl Iterator<Item = Backbone> {
    EXTRACTORS.iter().filter_map(|row| {
        let (architecture, preprocessing) = network(row.name)?;
        Some(Backbone {
            row,
            architecture,
            preprocessing,
        })
    })
}

/// The extractor with this name.
pub fn extractor(name: &str) -> Option<Backbone> {
    extractors().find(|backbone| backbone.row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_and_the_networks_agree() {
        assert_eq!(
            extractors().count(),
            EXTRACTORS.len(),
            "every row has a network"
        );
        for Backbone {
            row,
            architecture,
            preprocessing,
        } in extractors()
        {
            let dim = match architecture {
                Architecture::Vit(config) => Some(config.dim),
                Architecture::Clip(config) => Some(config.embed_dim),
                Architecture::CifarResnet { .. } => Some(64),
                Architecture::InceptionFid(_) => Some(2048),
                Architecture::Pixels
                | Architecture::Pca
                | Architecture::VitOfFile
                | Architecture::TorchScript => None,
            };
            assert_eq!(row.dim.map(i64::from), dim, "{}", row.name);
            let side = preprocessing.map(|preprocessing| match preprocessing.sizing {
                Sizing::Square(side) | Sizing::ShortThenCrop { crop: side, .. } => side as u32,
                Sizing::Keep => 0,
            });
            assert!(side.is_none() || side == row.input, "{}", row.name);
            let clip = matches!(architecture, Architecture::Clip(_));
            assert_eq!(text_tower(row.name).is_some(), clip, "{}", row.name);
            let adapts = matches!(architecture, Architecture::Vit(_) | Architecture::VitOfFile);
            assert_eq!(row.adapts, adapts, "{}", row.name);
            assert_eq!(row.fitted, architecture == Architecture::Pca);
            assert_eq!(
                row.needs_weights,
                !matches!(architecture, Architecture::Pixels | Architecture::Pca),
                "{}",
                row.name
            );
            assert_eq!(row.needs_weights, row.published.is_some());
        }
        let mut names: Vec<_> = EXTRACTORS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

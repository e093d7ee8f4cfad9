//! The extractor table: the names that a sweep file may use, and what each needs.

use serde::Serialize;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Extractor {
    /// Its name.
    pub name: &'static str,
    /// Feature width; absent where it is chosen or depends on the data or the file.
    pub dim: Option<u32>,
    /// Whether it needs a file of weights.
    pub needs_weights: bool,
    /// Whether it learns from the image set first (a [`crate::Kind::Fit`] job).
    pub fitted: bool,
    /// Whether its feature width can be chosen.
    pub chooses_dim: bool,
    /// Whether it has class logits too.
    pub has_logits: bool,
}

const fn network(name: &'static str, dim: u32) -> Extractor {
    Extractor {
        name,
        dim: Some(dim),
        needs_weights: true,
        fitted: false,
        chooses_dim: false,
        has_logits: false,
    }
}

/// Every extractor (spec §2.1, §10.1).
pub const EXTRACTORS: &[Extractor] = &[
    Extractor {
        dim: None,
        needs_weights: false,
        ..network("pixels", 0)
    },
    Extractor {
        dim: None,
        needs_weights: false,
        fitted: true,
        chooses_dim: true,
        ..network("pca", 0)
    },
    Extractor {
        has_logits: true,
        ..network("cifar_resnet56", 64)
    },
    network("dino_vitb16", 768),
    network("mocov3_vit_base", 768),
    network("ibot_vit_large", 1024),
    network("dinov2_vitg14", 1536),
    network("dinov2_vitl14", 1024),
    network("openclip_vit_bigg14", 1280),
    Extractor {
        has_logits: true,
        ..network("inception_fid", 2048)
    },
    Extractor {
        dim: None,
        ..network("torchscript", 0)
    },
];

/// The extractor with this name.
pub fn extractor(name: &str) -> Option<&'static Extractor> {
    EXTRACTORS.iter().find(|extractor| extractor.name == name)
}

//! The extractor table: the names that a sweep file may use, what each is, what it needs, where its
//! weights are published.

use serde::Serialize;

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Extractor {
    /// Name in sweep files and on command lines.
    pub name: &'static str,
    /// Description in one line, for tables.
    pub about: &'static str,
    /// Side in pixels to which images are resized; `None` where they are not resized.
    pub input: Option<u32>,
    /// Feature width; `None` where it is configurable or depends on the data or the file.
    pub dim: Option<u32>,
    /// Whether it needs a file of weights.
    pub needs_weights: bool,
    /// Whether it is fitted to the image set first (a `fit` job).
    pub fitted: bool,
    /// Whether its feature width is configurable.
    pub chooses_dim: bool,
    /// Whether it also gives class logits.
    pub has_logits: bool,
    /// Whether it is a vision transformer that can be adapted to an image set (an `adapt` job).
    pub adapts: bool,
    /// Where the official weights are published; `None` where none are needed.
    pub published: Option<&'static str>,
    /// SHA-256 of the official file, where it is known for certain.
    pub sha256: Option<&'static str>,
}

const fn network(
    name: &'static str,
    about: &'static str,
    input: u32,
    dim: u32,
    published: &'static str,
) -> Extractor {
    Extractor {
        name,
        about,
        input: Some(input),
        dim: Some(dim),
        needs_weights: true,
        fitted: false,
        chooses_dim: false,
        has_logits: false,
        adapts: false,
        published: Some(published),
        sha256: None,
    }
}

/// The row of a vision transformer.
const fn vit(
    name: &'static str,
    about: &'static str,
    input: u32,
    dim: u32,
    published: &'static str,
) -> Extractor {
    Extractor {
        adapts: true,
        ..network(name, about, input, dim, published)
    }
}

/// The row of an extractor that needs no file.
const NO_FILE: Extractor = Extractor {
    input: None,
    dim: None,
    needs_weights: false,
    published: None,
    ..network("", "", 0, 0, "")
};

/// Every extractor (spec §2.1, §10.1).
pub const EXTRACTORS: &[Extractor] = &[
    Extractor {
        name: "pixels",
        about: "the pixels, x / 127.5 - 1",
        ..NO_FILE
    },
    Extractor {
        name: "pca",
        about: "principal components of the pixels, learnt from the set",
        fitted: true,
        chooses_dim: true,
        ..NO_FILE
    },
    Extractor {
        has_logits: true,
        sha256: Some("4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367"),
        ..network(
            "cifar_resnet56",
            "CIFAR-10 ResNet-56, pooled features",
            32,
            64,
            "github.com/akamaster/pytorch_resnet_cifar10: resnet56-4bfd9763.th",
        )
    },
    vit(
        "dino_vits16",
        "DINO ViT-S/16, ImageNet-1K",
        224,
        384,
        "dl.fbaipublicfiles.com/dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth",
    ),
    vit(
        "dino_vits8",
        "DINO ViT-S/8, ImageNet-1K",
        224,
        384,
        "dl.fbaipublicfiles.com/dino/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth",
    ),
    vit(
        "dino_vitb16",
        "DINO ViT-B/16, ImageNet-1K: the default for clustering",
        224,
        768,
        "dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
    ),
    vit(
        "dino_vitb8",
        "DINO ViT-B/8, ImageNet-1K",
        224,
        768,
        "dl.fbaipublicfiles.com/dino/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth",
    ),
    vit(
        "mocov3_vit_small",
        "MoCo v3 ViT-S/16, 300 epochs, momentum encoder",
        224,
        384,
        "dl.fbaipublicfiles.com/moco-v3/vit-s-300ep/vit-s-300ep.pth.tar",
    ),
    vit(
        "mocov3_vit_base",
        "MoCo v3 ViT-B/16, 300 epochs, momentum encoder",
        224,
        768,
        "dl.fbaipublicfiles.com/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar",
    ),
    vit(
        "ibot_vit_small",
        "iBOT ViT-S/16, ImageNet-1K teacher",
        224,
        384,
        "github.com/bytedance/ibot: vits_16 checkpoint_teacher.pth",
    ),
    vit(
        "ibot_vit_base",
        "iBOT ViT-B/16, ImageNet-1K teacher",
        224,
        768,
        "github.com/bytedance/ibot: vitb_16 checkpoint_teacher.pth",
    ),
    vit(
        "ibot_vit_large",
        "iBOT ViT-L/16, ImageNet-1K teacher, block masks",
        224,
        1024,
        "github.com/bytedance/ibot: vitl_16 checkpoint_teacher.pth",
    ),
    vit(
        "dinov2_vits14",
        "DINOv2 ViT-S/14",
        224,
        384,
        "dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
    ),
    vit(
        "dinov2_vitb14",
        "DINOv2 ViT-B/14",
        224,
        768,
        "dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
    ),
    vit(
        "dinov2_vitl14",
        "DINOv2 ViT-L/14: the space of FDD",
        224,
        1024,
        "dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
    ),
    vit(
        "dinov2_vitg14",
        "DINOv2 ViT-g/14",
        224,
        1536,
        "dl.fbaipublicfiles.com/dinov2/dinov2_vitg14/dinov2_vitg14_pretrain.pth",
    ),
    vit(
        "dinov2_vits14_reg",
        "DINOv2 ViT-S/14 with 4 registers",
        224,
        384,
        "dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth",
    ),
    vit(
        "dinov2_vitb14_reg",
        "DINOv2 ViT-B/14 with 4 registers",
        224,
        768,
        "dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth",
    ),
    vit(
        "dinov2_vitl14_reg",
        "DINOv2 ViT-L/14 with 4 registers",
        224,
        1024,
        "dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_reg4_pretrain.pth",
    ),
    vit(
        "dinov2_vitg14_reg",
        "DINOv2 ViT-g/14 with 4 registers",
        224,
        1536,
        "dl.fbaipublicfiles.com/dinov2/dinov2_vitg14/dinov2_vitg14_reg4_pretrain.pth",
    ),
    network(
        "openclip_vit_b32",
        "OpenCLIP ViT-B/32, image embedding",
        224,
        512,
        "huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K: open_clip_pytorch_model.bin",
    ),
    network(
        "openclip_vit_l14",
        "OpenCLIP ViT-L/14, image embedding",
        224,
        768,
        "huggingface.co/laion/CLIP-ViT-L-14-laion2B-s32B-b82K: open_clip_pytorch_model.bin",
    ),
    network(
        "openclip_vit_bigg14",
        "OpenCLIP ViT-bigG/14, image embedding",
        224,
        1280,
        "huggingface.co/laion/CLIP-ViT-bigG-14-laion2B-39B-b160k: open_clip_pytorch_model.bin",
    ),
    Extractor {
        sha256: Some("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
        ..network(
            "clip_vit_b32",
            "CLIP ViT-B/32 of OpenAI, image embedding",
            224,
            512,
            "openaipublic.azureedge.net/clip/models: ViT-B-32.pt",
        )
    },
    Extractor {
        sha256: Some("b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
        ..network(
            "clip_vit_l14",
            "CLIP ViT-L/14 of OpenAI, image embedding",
            224,
            768,
            "openaipublic.azureedge.net/clip/models: ViT-L-14.pt",
        )
    },
    Extractor {
        has_logits: true,
        ..network(
            "inception_fid",
            "Inception of 2015-12-05: the space of FID, with logits for the inception score",
            299,
            2048,
            "github.com/mseitzer/pytorch-fid releases: pt_inception-2015-12-05-6726825d.pth",
        )
    },
    Extractor {
        has_logits: true,
        ..network(
            "inception_pytorch_fid",
            "the same network on images resized as pytorch-fid does: its numbers, not those of \
             the literature on EDM",
            299,
            2048,
            "github.com/mseitzer/pytorch-fid releases: pt_inception-2015-12-05-6726825d.pth",
        )
    },
    Extractor {
        has_logits: true,
        ..network(
            "inception_clean_fid",
            "the same network on images resized as clean-fid's mode `clean` does",
            299,
            2048,
            "github.com/mseitzer/pytorch-fid releases: pt_inception-2015-12-05-6726825d.pth",
        )
    },
    Extractor {
        input: None,
        dim: None,
        ..vit(
            "vit",
            "a ViT that `extractor adapt` trained; the file tells its size",
            0,
            0,
            "a file of your own",
        )
    },
    Extractor {
        dim: None,
        ..network(
            "torchscript",
            "any TorchScript module, ImageNet preprocessing at 224",
            224,
            0,
            "a file of your own",
        )
    },
];

/// The extractor with this name.
pub fn extractor(name: &str) -> Option<&'static Extractor> {
    EXTRACTORS.iter().find(|extractor| extractor.name == name)
}

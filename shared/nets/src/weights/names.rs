//! Names that other libraries give the same tensors: Hugging Face's transformers for DINO, DINOv2
//! and CLIP, timm for DINOv2 with registers and CLIP. Sources: the state dicts of `ViTModel`,
//! `Dinov2Model`, `Dinov2WithRegistersModel` and `CLIPModel`, and of timm's `vit_*_dinov2` and
//! `vit_*_clip_*` models.

use super::Weights;
use tch::{Kind, Tensor};

/// Name of a tensor by which a vision transformer of transformers is known.
const HUB_VIT: &str = "embeddings.patch_embeddings.projection.weight";
/// The same for its CLIP.
const HUB_CLIP: &str = "vision_model.embeddings.patch_embedding.weight";

/// Names of the whole network: in transformers, upstream.
const VIT: [(&str, &str); 9] = [
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.mask_token", "mask_token"),
    ("embeddings.register_tokens", "register_tokens"),
    ("embeddings.position_embeddings", "pos_embed"),
    (
        "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.weight",
    ),
    (
        "embeddings.patch_embeddings.projection.bias",
        "patch_embed.proj.bias",
    ),
    ("layernorm.weight", "norm.weight"),
    ("layernorm.bias", "norm.bias"),
    // Made after training by another library, and read by no extractor here.
    ("pooler", ""),
];
/// Names inside a block: in transformers' ViT and Dinov2, upstream.
const VIT_BLOCK: [(&str, &str); 15] = [
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("norm1", "norm1"),
    ("norm2", "norm2"),
    ("attention.output.dense", "attn.proj"),
    // Since its fifth version it has other names in memory than in its own files.
    ("attention.o_proj", "attn.proj"),
    ("mlp.down_proj", "mlp.w3"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("mlp.fc1", "mlp.fc1"),
    ("mlp.fc2", "mlp.fc2"),
    ("mlp.weights_in", "mlp.w12"),
    ("mlp.weights_out", "mlp.w3"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
];
/// Names of CLIP's image tower: in transformers, upstream (OpenAI's and OpenCLIP's).
const CLIP_IMAGE: [(&str, &str); 7] = [
    ("embeddings.class_embedding", "class_embedding"),
    ("embeddings.patch_embedding.weight", "conv1.weight"),
    (
        "embeddings.position_embedding.weight",
        "positional_embedding",
    ),
    ("pre_layrnorm.weight", "ln_pre.weight"),
    ("pre_layrnorm.bias", "ln_pre.bias"),
    ("post_layernorm.weight", "ln_post.weight"),
    ("post_layernorm.bias", "ln_post.bias"),
];
/// Names of its text tower.
const CLIP_TEXT: [(&str, &str); 4] = [
    (
        "embeddings.token_embedding.weight",
        "token_embedding.weight",
    ),
    (
        "embeddings.position_embedding.weight",
        "positional_embedding",
    ),
    ("final_layer_norm.weight", "ln_final.weight"),
    ("final_layer_norm.bias", "ln_final.bias"),
];
/// Names inside a block of either tower.
const CLIP_BLOCK: [(&str, &str); 5] = [
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("self_attn.out_proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
];

/// Name of a tensor by which a CLIP image tower of timm is known: its other vision transformers do
/// not normalise before the first block.
pub(super) const TIMM_CLIP: &str = "norm_pre.weight";
/// Names of that tower: in timm, upstream.
const TIMM_CLIP_IMAGE: [(&str, &str); 3] = [
    ("patch_embed.proj", "conv1"),
    ("norm_pre", "ln_pre"),
    ("norm", "ln_post"),
];
/// Names inside a block of it.
const TIMM_CLIP_BLOCK: [(&str, &str); 7] = [
    ("norm1", "ln_1"),
    ("norm2", "ln_2"),
    ("attn.qkv.weight", "attn.in_proj_weight"),
    ("attn.qkv.bias", "attn.in_proj_bias"),
    ("attn.proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
];

/// The same weights under upstream's names; as they are when no other library's names are found.
pub(super) fn upstream(weights: Weights) -> Weights {
    if let Some(prefix) = prefix_of(&weights, HUB_VIT) {
        return hub_vit(&weights.below(&prefix));
    }
    if let Some(prefix) = prefix_of(&weights, HUB_CLIP) {
        return hub_clip(&weights.below(&prefix));
    }
    if weights.get(TIMM_CLIP).is_some() {
        return timm_clip(&weights);
    }
    timm(weights)
}

/// What stands before `name` in the weights; `None` when no name ends in it.
fn prefix_of(weights: &Weights, name: &str) -> Option<String> {
    let found = weights
        .iter()
        .find_map(|(found, _)| found.strip_suffix(name));
    found
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .map(str::to_owned)
}

fn hub_vit(theirs: &Weights) -> Weights {
    let mut ours = theirs.renamed(|name| {
        if let Some((theirs, ours)) = VIT.iter().find(|(theirs, _)| belongs(name, theirs)) {
            return (!ours.is_empty()).then(|| name.replacen(theirs, ours, 1));
        }
        let lists = ["encoder.layer.", "layers."];
        let Some((number, part)) = lists.iter().find_map(|list| numbered(name, list)) else {
            return Some(name.to_owned());
        };
        let known = VIT_BLOCK.iter().find(|(theirs, _)| belongs(part, theirs));
        let part = known.map_or_else(
            || part.to_owned(),
            |(theirs, ours)| part.replacen(theirs, ours, 1),
        );
        Some(format!("blocks.{number}.{part}"))
    });
    // transformers keeps the three projections of attention apart.
    let attention = |part: &str, kind: &str| format!("{part}attn.qkv.{kind}");
    let parts = ["query", "key", "value"];
    join(&mut ours, "attention.attention.", parts, attention);
    let parts = ["q_proj", "k_proj", "v_proj"];
    join(&mut ours, "attention.", parts, attention);
    // The gate is the half that upstream's activation is applied to, the first.
    let gated = |part: &str, kind: &str| format!("{part}mlp.w12.{kind}");
    join(&mut ours, "mlp.", ["gate_proj", "up_proj"], gated);
    ours
}

fn hub_clip(theirs: &Weights) -> Weights {
    let mut ours = Weights::default();
    let towers = [
        ("vision_model.", "visual.", &CLIP_IMAGE[..]),
        ("text_model.", "", &CLIP_TEXT[..]),
    ];
    for (tower, prefix, names) in towers {
        for (name, tensor) in theirs.below(tower).iter() {
            // Counts that later versions no longer store.
            if name == "embeddings.position_ids" {
                continue;
            }
            let known = names.iter().find(|(theirs, _)| *theirs == name);
            let name = match (known, numbered(name, "encoder.layers.")) {
                (Some((_, ours)), _) => (*ours).to_owned(),
                (None, None) => name.to_owned(),
                (None, Some((number, part))) => {
                    let known = CLIP_BLOCK.iter().find(|(theirs, _)| belongs(part, theirs));
                    let part = known.map_or_else(
                        || part.to_owned(),
                        |(theirs, ours)| part.replacen(theirs, ours, 1),
                    );
                    format!("transformer.resblocks.{number}.{part}")
                }
            };
            ours.insert(format!("{prefix}{name}"), tensor.shallow_clone());
        }
    }
    join(
        &mut ours,
        "self_attn.",
        ["q_proj", "k_proj", "v_proj"],
        |part, kind| format!("{part}attn.in_proj_{kind}"),
    );
    // A linear layer there, a matrix from the right here.
    for (theirs_name, name) in [
        ("visual_projection.weight", "visual.proj"),
        ("text_projection.weight", "text_projection"),
    ] {
        if let Some(tensor) = theirs.get(theirs_name).filter(|tensor| tensor.dim() == 2) {
            ours.insert(name, tensor.transpose(0, 1));
        }
    }
    if let Some(scale) = theirs.get("logit_scale") {
        ours.insert("logit_scale", scale.shallow_clone());
    }
    ours
}

/// timm's image tower of CLIP: tokens and positions have axes of length 1 in front, and the
/// projection is a linear layer, whose bias is of zeros where the tower is upstream's.
fn timm_clip(theirs: &Weights) -> Weights {
    let renamed = |name: &str, names: &[(&str, &str)]| {
        let known = names.iter().find(|(theirs, _)| belongs(name, theirs));
        known.map_or_else(
            || name.to_owned(),
            |(theirs, ours)| name.replacen(theirs, ours, 1),
        )
    };
    let mut ours = theirs.renamed(|name| {
        Some(match numbered(name, "blocks.") {
            Some((number, part)) => {
                let part = renamed(part, &TIMM_CLIP_BLOCK);
                format!("transformer.resblocks.{number}.{part}")
            }
            None => renamed(name, &TIMM_CLIP_IMAGE),
        })
    });
    for (theirs, name) in [
        ("cls_token", "class_embedding"),
        ("pos_embed", "positional_embedding"),
    ] {
        let Some(tensor) = ours.remove(theirs) else {
            continue;
        };
        let axes = if name == "class_embedding" { 1 } else { 2 };
        let size = tensor.size();
        let ones = size.len().saturating_sub(axes);
        let fits = size[..ones].iter().all(|length| *length == 1);
        let tensor = if fits {
            tensor.reshape(&size[ones..])
        } else {
            tensor
        };
        ours.insert(name, tensor);
    }
    if let Some(projection) = ours.remove("head.weight") {
        let turned = projection.dim() == 2;
        ours.insert(
            "proj",
            if turned {
                projection.transpose(0, 1)
            } else {
                projection
            },
        );
    }
    let of_zeros = |bias: &Tensor| bias.count_nonzero(None::<i64>).int64_value(&[]) == 0;
    if ours.get("head.bias").is_some_and(of_zeros) {
        ours.remove("head.bias");
    }
    ours
}

/// What stands before the names of a ViT, where the file holds one alone and not at its top.
pub(super) fn only_vit(weights: &Weights) -> Option<String> {
    const PATCHES: &str = "patch_embed.proj.weight";
    if weights.get(PATCHES).is_some() {
        return None;
    }
    let mut prefixes = weights.iter().filter_map(|(name, _)| {
        let prefix = name.strip_suffix(PATCHES)?;
        prefix.ends_with('.').then(|| prefix.to_owned())
    });
    prefixes.next().filter(|_| prefixes.next().is_none())
}

/// timm's DINOv2 with registers calls them `reg_token` and has no position for the class token: it
/// was added to the token itself. Its gated layers have the names of plain ones; the first of them
/// is twice as wide as the second takes.
fn timm(weights: Weights) -> Weights {
    let width = |name: &str, axis: usize| {
        let size = weights.get(name).map(Tensor::size)?;
        size.get(axis).copied()
    };
    let gated = width("blocks.0.mlp.fc1.weight", 0).zip(width("blocks.0.mlp.fc2.weight", 1));
    let mut weights = if gated.is_some_and(|(made, taken)| made == 2 * taken) {
        weights.renamed(|name| {
            let name = name.replacen(".mlp.fc1.", ".mlp.w12.", 1);
            Some(name.replacen(".mlp.fc2.", ".mlp.w3.", 1))
        })
    } else {
        weights
    };
    let Some(registers) = weights.remove("reg_token") else {
        return weights;
    };
    weights.insert("register_tokens", registers);
    if let Some(positions) = weights.remove("pos_embed") {
        let is_square = positions.dim() == 3 && {
            let side = (positions.size()[1] as f64).sqrt().round() as i64;
            side * side == positions.size()[1]
        };
        let positions = if is_square {
            let none = Tensor::zeros_like(&positions.narrow(1, 0, 1));
            Tensor::cat(&[none, positions], 1)
        } else {
            positions
        };
        weights.insert("pos_embed", positions);
    }
    weights
}

/// Whether a name is `part`, or begins with it and a dot.
fn belongs(name: &str, part: &str) -> bool {
    name.strip_prefix(part)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Number and rest of a name in a list of blocks.
fn numbered<'n>(name: &'n str, list: &str) -> Option<(&'n str, &'n str)> {
    let (number, rest) = name.strip_prefix(list)?.split_once('.')?;
    number
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some((number, rest))
}

/// Replaces tensors `<part><between><one of the parts>.<weight or bias>` by one, above each
/// other, wherever all are there and fit.
fn join<const N: usize>(
    weights: &mut Weights,
    between: &str,
    parts: [&str; N],
    name: impl Fn(&str, &str) -> String,
) {
    let first = format!("{between}{}.", parts[0]);
    let places: Vec<(String, String)> = weights
        .iter()
        .filter_map(|(name, _)| name.split_once(&first))
        .map(|(part, kind)| (part.to_owned(), kind.to_owned()))
        .collect();
    for (part, kind) in places {
        let names = parts.map(|own| format!("{part}{between}{own}.{kind}"));
        let tensors: Vec<Tensor> = names
            .iter()
            .filter_map(|name| weights.get(name))
            .map(|tensor| tensor.to_kind(Kind::Float))
            .collect();
        if tensors.len() != N {
            continue;
        }
        // Tensors that do not fit are left under their own names, and told as unexpected.
        if let Ok(joined) = Tensor::f_cat(&tensors, 0) {
            for name in &names {
                weights.remove(name);
            }
            weights.insert(name(&part, &kind), joined);
        }
    }
}

#[cfg(test)]
mod tests;

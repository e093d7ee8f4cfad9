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
const VIT_BLOCK: [(&str, &str); 13] = [
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("norm1", "norm1"),
    ("norm2", "norm2"),
    ("attention.output.dense", "attn.proj"),
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
        let Some((number, part)) = numbered(name, "encoder.layer.") else {
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
    join(
        &mut ours,
        "attention.attention.",
        ["query", "key", "value"],
        |part, kind| format!("{part}attn.qkv.{kind}"),
    );
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

/// timm's DINOv2 with registers calls them `reg_token` and has no position for the class token: it
/// was added to the token itself.
fn timm(mut weights: Weights) -> Weights {
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

/// Replaces three tensors `<part><between><one of the parts>.<weight or bias>` by one above each
/// other, wherever all three are there and fit.
fn join(
    weights: &mut Weights,
    between: &str,
    parts: [&str; 3],
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
        if tensors.len() != 3 {
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
mod tests {
    use super::*;
    use tch::Device;

    fn weights(names: &[(&str, &[i64])]) -> Weights {
        let tensor = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
        names
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), tensor(shape)))
            .collect()
    }
    fn shapes(weights: &Weights) -> Vec<(String, Vec<i64>)> {
        weights
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.size()))
            .collect()
    }

    #[test]
    fn names_of_the_hub_become_upstreams() {
        let theirs = weights(&[
            ("vit.embeddings.cls_token", &[1, 1, 4]),
            ("vit.embeddings.position_embeddings", &[1, 5, 4]),
            (
                "vit.embeddings.patch_embeddings.projection.weight",
                &[4, 3, 2, 2],
            ),
            (
                "vit.encoder.layer.10.attention.attention.query.weight",
                &[4, 4],
            ),
            (
                "vit.encoder.layer.10.attention.attention.key.weight",
                &[4, 4],
            ),
            (
                "vit.encoder.layer.10.attention.attention.value.weight",
                &[4, 4],
            ),
            ("vit.encoder.layer.10.attention.output.dense.bias", &[4]),
            ("vit.encoder.layer.10.layernorm_before.weight", &[4]),
            ("vit.encoder.layer.10.output.dense.weight", &[4, 8]),
            ("vit.encoder.layer.10.layer_scale1.lambda1", &[4]),
            ("vit.layernorm.bias", &[4]),
            ("vit.pooler.dense.weight", &[4, 4]),
        ]);
        let expect = weights(&[
            ("cls_token", &[1, 1, 4]),
            ("pos_embed", &[1, 5, 4]),
            ("patch_embed.proj.weight", &[4, 3, 2, 2]),
            ("blocks.10.attn.qkv.weight", &[12, 4]),
            ("blocks.10.attn.proj.bias", &[4]),
            ("blocks.10.norm1.weight", &[4]),
            ("blocks.10.mlp.fc2.weight", &[4, 8]),
            ("blocks.10.ls1.gamma", &[4]),
            ("norm.bias", &[4]),
        ]);
        assert_eq!(shapes(&upstream(theirs)), shapes(&expect));
        let theirs = weights(&[
            (
                "vision_model.embeddings.patch_embedding.weight",
                &[4, 3, 2, 2],
            ),
            ("vision_model.encoder.layers.0.self_attn.q_proj.bias", &[4]),
            ("vision_model.encoder.layers.0.self_attn.k_proj.bias", &[4]),
            ("vision_model.encoder.layers.0.self_attn.v_proj.bias", &[4]),
            ("vision_model.encoder.layers.0.mlp.fc1.weight", &[8, 4]),
            ("text_model.final_layer_norm.bias", &[6]),
            ("visual_projection.weight", &[5, 4]),
            ("text_projection.weight", &[5, 6]),
        ]);
        let expect = weights(&[
            ("visual.conv1.weight", &[4, 3, 2, 2]),
            ("visual.transformer.resblocks.0.attn.in_proj_bias", &[12]),
            ("visual.transformer.resblocks.0.mlp.c_fc.weight", &[8, 4]),
            ("ln_final.bias", &[6]),
            ("visual.proj", &[4, 5]),
            ("text_projection", &[6, 5]),
        ]);
        assert_eq!(shapes(&upstream(theirs)), shapes(&expect));
    }

    #[test]
    fn timms_clip_becomes_upstreams_image_tower() {
        let names: [(&str, &[i64]); 12] = [
            ("cls_token", &[1, 1, 4]),
            ("pos_embed", &[1, 5, 4]),
            ("patch_embed.proj.weight", &[4, 3, 2, 2]),
            ("norm_pre.bias", &[4]),
            ("norm_pre.weight", &[4]),
            ("norm.weight", &[4]),
            ("blocks.0.norm1.weight", &[4]),
            ("blocks.0.attn.qkv.weight", &[12, 4]),
            ("blocks.0.attn.qkv.bias", &[12]),
            ("blocks.0.attn.proj.bias", &[4]),
            ("blocks.0.mlp.fc1.weight", &[16, 4]),
            ("head.weight", &[2, 4]),
        ];
        let expect = weights(&[
            ("class_embedding", &[4]),
            ("positional_embedding", &[5, 4]),
            ("conv1.weight", &[4, 3, 2, 2]),
            ("ln_pre.bias", &[4]),
            ("ln_pre.weight", &[4]),
            ("ln_post.weight", &[4]),
            ("transformer.resblocks.0.ln_1.weight", &[4]),
            ("transformer.resblocks.0.attn.in_proj_weight", &[12, 4]),
            ("transformer.resblocks.0.attn.in_proj_bias", &[12]),
            ("transformer.resblocks.0.attn.out_proj.bias", &[4]),
            ("transformer.resblocks.0.mlp.c_fc.weight", &[16, 4]),
            ("proj", &[4, 2]),
        ]);
        let mut theirs = weights(&names);
        theirs.insert("head.bias", Tensor::zeros([2], (Kind::Float, Device::Cpu)));
        assert_eq!(shapes(&upstream(theirs)), shapes(&expect));
        // Inside a checkpoint its projection is no head to be left out.
        let inside = weights(&names).renamed(|name| Some(format!("state_dict.{name}")));
        let found = inside.backbone(crate::weights::Encoder::Teacher);
        assert_eq!(shapes(&found), shapes(&expect));
        // A bias that changes the features is not dropped.
        let mut trained = weights(&names);
        trained.insert("head.bias", Tensor::ones([2], (Kind::Float, Device::Cpu)));
        assert!(upstream(trained).get("head.bias").is_some());
    }

    #[test]
    fn timms_registers_get_a_position_of_nothing_for_the_class_token() {
        let theirs = weights(&[("reg_token", &[1, 4, 2]), ("pos_embed", &[1, 9, 2])]);
        let ours = upstream(theirs);
        assert_eq!(ours.get("register_tokens").unwrap().size(), [1, 4, 2]);
        let positions = ours.get("pos_embed").unwrap();
        assert_eq!(positions.size(), [1, 10, 2]);
        assert_eq!(positions.double_value(&[0, 0, 0]), 0.0);
        assert_eq!(positions.double_value(&[0, 1, 0]), 1.0);
        // Weights with upstream's names stay as they are.
        let own = weights(&[("cls_token", &[1, 1, 4]), ("pos_embed", &[1, 5, 4])]);
        assert_eq!(shapes(&upstream(own.shallow_clone())), shapes(&own));
    }
}

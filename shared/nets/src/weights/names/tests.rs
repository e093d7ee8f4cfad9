//! Names of other libraries, and what becomes of them.

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

#[test]
fn names_of_transformers_in_memory_become_upstreams() {
    let of = |list: &str| {
        let mut theirs = weights(&[
            ("embeddings.cls_token", &[1, 1, 4]),
            (
                "embeddings.patch_embeddings.projection.weight",
                &[4, 3, 2, 2],
            ),
        ]);
        for (part, shape) in [
            ("attention.q_proj.weight", &[4, 4][..]),
            ("attention.k_proj.weight", &[4, 4]),
            ("attention.v_proj.weight", &[4, 4]),
            ("attention.o_proj.bias", &[4]),
            ("mlp.gate_proj.bias", &[6]),
            ("mlp.up_proj.bias", &[6]),
            ("mlp.down_proj.weight", &[4, 6]),
        ] {
            let tensor = Tensor::ones(shape, (Kind::Float, Device::Cpu));
            theirs.insert(format!("{list}3.{part}"), tensor);
        }
        theirs
    };
    let expect = weights(&[
        ("cls_token", &[1, 1, 4]),
        ("patch_embed.proj.weight", &[4, 3, 2, 2]),
        ("blocks.3.attn.qkv.weight", &[12, 4]),
        ("blocks.3.attn.proj.bias", &[4]),
        ("blocks.3.mlp.w12.bias", &[12]),
        ("blocks.3.mlp.w3.weight", &[4, 6]),
    ]);
    for list in ["layers.", "encoder.layer."] {
        assert_eq!(shapes(&upstream(of(list))), shapes(&expect), "{list}");
    }
    // The gate comes first.
    let mut theirs = of("layers.");
    theirs.insert(
        "layers.3.mlp.gate_proj.bias",
        Tensor::zeros([6], (Kind::Float, Device::Cpu)),
    );
    let joined = upstream(theirs);
    let bias = joined.get("blocks.3.mlp.w12.bias").unwrap();
    assert_eq!(bias.double_value(&[0]), 0.0);
    assert_eq!(bias.double_value(&[6]), 1.0);
}

#[test]
fn timms_gated_layers_are_told_by_their_shapes() {
    let of = |made: i64, taken: i64| {
        upstream(weights(&[
            ("patch_embed.proj.weight", &[4, 3, 2, 2]),
            ("blocks.0.mlp.fc1.weight", &[made, 4]),
            ("blocks.0.mlp.fc1.bias", &[made]),
            ("blocks.0.mlp.fc2.weight", &[4, taken]),
        ]))
    };
    let gated = of(12, 6);
    assert_eq!(
        gated.get("blocks.0.mlp.w12.weight").unwrap().size(),
        [12, 4]
    );
    assert_eq!(gated.get("blocks.0.mlp.w3.weight").unwrap().size(), [4, 6]);
    assert!(of(16, 16).get("blocks.0.mlp.fc1.bias").is_some());
}

#[test]
fn the_one_vit_of_a_file_is_found_below_any_name() {
    let inside = |prefix: &str| {
        let name = format!("{prefix}patch_embed.proj.weight");
        weights(&[(name.as_str(), &[4, 3, 2, 2]), ("other.weight", &[2])])
    };
    let found = |weights: &Weights| shapes(&weights.backbone(crate::weights::Encoder::Teacher));
    let alone = vec![("patch_embed.proj.weight".to_owned(), vec![4, 3, 2, 2])];
    for prefix in [
        "encoder.",
        "vit.",
        "model.visual_encoder.",
        "ema.",
        "params_ema.module.",
    ] {
        assert_eq!(found(&inside(prefix)), alone, "{prefix}");
    }
    // Of two it is not said which.
    let mut two = inside("a.");
    two.insert(
        "b.patch_embed.proj.weight",
        Tensor::ones([1], (Kind::Float, Device::Cpu)),
    );
    assert_eq!(found(&two).len(), 3);
}

#[test]
fn the_running_mean_is_the_teacher_and_the_weights_are_the_student() {
    use crate::weights::Encoder;
    for (own, mean) in [
        ("model.", "ema."),
        ("state_dict.", "state_dict_ema."),
        ("params.", "params_ema."),
    ] {
        let name = |prefix: &str| format!("{prefix}patch_embed.proj.bias");
        let theirs = weights(&[(name(own).as_str(), &[1]), (name(mean).as_str(), &[2])]);
        let size = |encoder| {
            theirs
                .backbone(encoder)
                .get("patch_embed.proj.bias")
                .unwrap()
                .size()
        };
        assert_eq!(size(Encoder::Teacher), [2], "{mean}");
        assert_eq!(size(Encoder::Student), [1], "{own}");
    }
}

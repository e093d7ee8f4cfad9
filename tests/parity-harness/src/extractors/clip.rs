//! CLIP's two towers and its pseudo-labels.

use super::{
    Comparison, Verdict, exact_match,
    listing::{Listing, integer},
    max_error_over_rms,
    vit::fill,
};
use crate::fixture::Fixture;
use anyhow::{Context, ensure};
use cedm_nets::{
    Weights,
    clip::{
        Activation, ClipText, ClipVision, TextConfig, VisionConfig, classifier, prompts_of,
        zero_shot,
    },
    normalise_rows,
};
use serde_json::Value;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

const FEATURES: f64 = 3e-5;
const INTERMEDIATES: f64 = 1e-4;
const DOUBLE: f64 = 1e-9;

pub fn check(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Verdict> {
    let tensors = listing.tensors();
    if tensors.contains_key("visual.proj") {
        return Ok(Verdict::PartOf(format!(
            "{}.io.safetensors",
            listing.stem()
        )));
    }
    let Some(case) = listing.case().filter(|case| {
        case["config"]["vision_cfg"].is_object() && tensors.contains_key("image_features")
    }) else {
        return Ok(Verdict::NotRecognised);
    };
    let expect = fixture.tensors()?;
    let mut weights = listing.listed_weights()?;
    insert_embedding(&mut weights, case)?;
    let mut comparisons = image_tower(listing, case, &weights, &expect)?;
    comparisons.extend(text_tower(listing, case, &weights, &expect)?);
    Ok(Verdict::Checked(comparisons))
}

/// The token embedding is not part of the fixture but filled by a rule.
fn insert_embedding(weights: &mut Weights, case: &Value) -> anyhow::Result<()> {
    let rule = &case["token_embedding_rule"];
    let Some(name) = rule["name"].as_str() else {
        return Ok(());
    };
    let seed = case["rule_seed"].as_u64().context("rule_seed")?;
    let tensor = fill::by_rule(seed, rule)?;
    ensure!(
        rule["first3"][0].as_f64() == Some(tensor.double_value(&[0, 0])),
        "the filled embedding starts with another value"
    );
    weights.insert(name, tensor);
    Ok(())
}

fn activation(config: &Value) -> Activation {
    if config["quick_gelu"].as_bool() == Some(true) {
        Activation::QuickGelu
    } else {
        Activation::Gelu
    }
}

fn image_tower(
    listing: &Listing,
    case: &Value,
    weights: &Weights,
    expect: &HashMap<String, Tensor>,
) -> anyhow::Result<Vec<Comparison>> {
    let (all, vision) = (&case["config"], &case["config"]["vision_cfg"]);
    let config = VisionConfig {
        image: integer(vision, "image_size")?,
        patch: integer(vision, "patch_size")?,
        width: integer(vision, "width")?,
        layers: integer(vision, "layers")?,
        head_width: integer(vision, "head_width")?,
        mlp_width: (integer(vision, "width")? as f64
            * vision["mlp_ratio"].as_f64().context("mlp_ratio")?) as i64,
        embed_dim: integer(all, "embed_dim")?,
        activation: activation(all),
    };
    let x = listing.shared_input(config.image)?;
    let mut comparisons = Vec::new();
    let found = ClipVision::load(weights, config, Kind::Float, Device::Cpu)?.forward(
        &x,
        &mut |name, value| {
            if let Some(expect) = expect.get(name) {
                let found = value.narrow(0, 0, expect.size()[0]);
                comparisons.push(Comparison::new(
                    format!("image {name}"),
                    max_error_over_rms(&found, expect),
                    INTERMEDIATES,
                ));
            }
        },
    );
    comparisons.push(Comparison::new(
        "image features",
        max_error_over_rms(&found, &expect["image_features"]),
        FEATURES,
    ));
    let double =
        ClipVision::load(weights, config, Kind::Double, Device::Cpu)?.forward(&x, &mut |_, _| {});
    comparisons.push(Comparison::new(
        "image features in float64",
        max_error_over_rms(&double, &expect["image_features_f64"]),
        DOUBLE,
    ));
    Ok(comparisons)
}

fn text_tower(
    listing: &Listing,
    case: &Value,
    weights: &Weights,
    expect: &HashMap<String, Tensor>,
) -> anyhow::Result<Vec<Comparison>> {
    let (all, text) = (&case["config"], &case["config"]["text_cfg"]);
    let config = TextConfig {
        width: integer(text, "width")?,
        layers: integer(text, "layers")?,
        heads: integer(text, "heads")?,
        embed_dim: integer(all, "embed_dim")?,
        activation: activation(all),
    };
    let texts = |key: &str| -> anyhow::Result<Vec<String>> {
        let list = case[key]
            .as_array()
            .with_context(|| format!("the case has no `{key}`"))?;
        Ok(list
            .iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect())
    };
    let (classes, templates) = (texts("classes")?, texts("templates")?);
    let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
    let tokenizer = super::tokenizer::read_listed(listing)?;
    // The token ids come from the fixture; the tokenizer is checked against them separately.
    let ids = super::tokenizer::read_listed_ids(listing)?;
    let net = ClipText::load(weights, config, Kind::Float, Device::Cpu)?;
    let mut comparisons = Vec::new();
    let features = net.forward(&ids, &mut |_, value| {
        let expect = &expect["text_blocks_out"];
        comparisons.push(Comparison::new(
            "text blocks",
            max_error_over_rms(&value.narrow(0, 0, expect.size()[0]), expect),
            INTERMEDIATES,
        ));
    });
    comparisons.push(Comparison::new(
        "text features",
        max_error_over_rms(&features, &expect["text_features"]),
        FEATURES,
    ));
    let double = ClipText::load(weights, config, Kind::Double, Device::Cpu)?;
    comparisons.push(Comparison::new(
        "text features in float64",
        max_error_over_rms(
            &double.forward(&ids, &mut |_, _| {}),
            &expect["text_features_f64"],
        ),
        DOUBLE,
    ));
    let prompts = normalise_rows(&net.forward(
        &tokenizer.batch(&prompts_of(&classes, &templates)),
        &mut |_, _| {},
    ));
    comparisons.push(Comparison::new(
        "prompts",
        max_error_over_rms(&prompts, &expect["prompt_features_normalized"]),
        FEATURES,
    ));
    let found = classifier(&net, &tokenizer, &classes, &templates)?;
    comparisons.push(Comparison::new(
        "classifier",
        max_error_over_rms(&found, &expect["zeroshot_classifier"]),
        FEATURES,
    ));
    let in_double = classifier(&double, &tokenizer, &classes, &templates)?;
    comparisons.push(Comparison::new(
        "classifier in float64",
        max_error_over_rms(&in_double, &expect["zeroshot_classifier_f64"]),
        DOUBLE,
    ));
    let labels = zero_shot(&expect["image_features"], &found);
    comparisons.push(Comparison::new(
        "logits",
        max_error_over_rms(&labels.logits, &expect["zeroshot_logits"]),
        INTERMEDIATES,
    ));
    comparisons.push(exact_match(
        "pseudo-labels",
        labels
            .labels
            .equal(&expect["pseudo_labels"].to_kind(Kind::Int64)),
    ));
    Ok(comparisons)
}

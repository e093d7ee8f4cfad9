//! DINO's loss over consecutive steps, and its projection heads.

use super::{
    Comparison, Verdict,
    listing::{Listing, integer},
    max_abs_error, max_error_over_rms,
};
use crate::fixture::Fixture;
use anyhow::Context;
use cedm_dino::{DinoHead, DinoLoss, teacher_temperature};
use serde_json::Value;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

pub fn check(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Verdict> {
    let tensors = listing.tensors();
    if tensors.contains_key("last_layer.weight_v")
        && tensors.contains_key("last_layer.weight_g")
        && listing.name.ends_with(".weights.safetensors")
    {
        return Ok(Verdict::PartOf(format!(
            "{}.io.safetensors",
            listing.stem()
        )));
    }
    if tensors.contains_key("bottleneck_normalized") {
        return Ok(Verdict::Checked(head(fixture, listing)?));
    }
    if tensors.contains_key("teacher_temp_schedule") {
        let params = listing
            .case()
            .map(|case| &case["params"])
            .context("no parameters are listed for it")?;
        return Ok(Verdict::Checked(loss(&fixture.tensors()?, params)?));
    }
    Ok(Verdict::NotRecognised)
}

fn head(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Vec<Comparison>> {
    let expect = fixture.tensors()?;
    let weights = listing.listed_weights()?;
    let (single, x) = (
        DinoHead::load(&weights, Kind::Float, Device::Cpu)?,
        &expect["x"],
    );
    let double = DinoHead::load(&weights, Kind::Double, Device::Cpu)?
        .forward(&x.to_kind(Kind::Double), false);
    let mut comparisons = vec![
        Comparison::new(
            "bottleneck",
            max_error_over_rms(
                &single.bottleneck(x, false),
                &expect["bottleneck_normalized"],
            ),
            1e-5,
        ),
        Comparison::new(
            "scores",
            max_error_over_rms(&single.forward(x, false), &expect["y"]),
            1e-5,
        ),
        Comparison::new(
            "scores in float64",
            max_error_over_rms(&double, &expect["y_f64"]),
            1e-9,
        ),
    ];
    if let Some(trained) = expect.get("y_train_mode") {
        comparisons.push(Comparison::new(
            "scores in training",
            max_error_over_rms(&single.forward(x, true), trained),
            1e-5,
        ));
        for (name, found) in single.statistics() {
            comparisons.extend(expect.get(&format!("after_train.{name}")).map(|expect| {
                Comparison::new(
                    format!("{name} afterwards"),
                    max_error_over_rms(&found, expect),
                    1e-5,
                )
            }));
        }
    }
    Ok(comparisons)
}

fn loss(tensors: &HashMap<String, Tensor>, params: &Value) -> anyhow::Result<Vec<Comparison>> {
    let number = |key: &str| {
        params[key]
            .as_f64()
            .with_context(|| format!("no parameter `{key}`"))
    };
    let temperature = |epoch: i64| -> anyhow::Result<f64> {
        Ok(teacher_temperature(
            epoch as usize,
            number("w")?,
            number("t")?,
            integer(params, "we")? as usize,
        ))
    };
    let schedule: Vec<f64> = (0..integer(params, "ne")?)
        .map(temperature)
        .collect::<anyhow::Result<_>>()?;
    let mut comparisons = vec![Comparison::new(
        "teacher temperatures",
        max_abs_error(
            &Tensor::from_slice(&schedule),
            &tensors["teacher_temp_schedule"],
        ),
        1e-12,
    )];
    let epochs: Vec<i64> = params["epochs"]
        .as_array()
        .context("epochs")?
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    for kind in [Kind::Float, Kind::Double] {
        let take = |name: String| tensors[&name].to_kind(kind);
        let mut state = DinoLoss {
            center: take("center_0".to_owned()),
            student_temperature: number("ts")?,
            center_momentum: number("m")?,
        };
        for (step, epoch) in epochs.iter().enumerate() {
            if kind == Kind::Double {
                // Each float64 loss was computed from the float32 centre before it.
                state.center = take(format!("center_{step}"));
            }
            let (student, teacher) = (
                take(format!("student_{step}")).set_requires_grad(true),
                take(format!("teacher_{step}")),
            );
            let loss = tch::with_grad(|| state.loss(&student, &teacher, schedule[*epoch as usize]));
            state.update_center(&teacher);
            if kind == Kind::Double {
                comparisons.push(Comparison::new(
                    format!("loss {step} in float64"),
                    max_abs_error(&loss.reshape([1]), &tensors[&format!("loss_f64_{step}")]),
                    1e-9,
                ));
                continue;
            }
            loss.backward();
            comparisons.push(Comparison::new(
                format!("loss {step}"),
                max_abs_error(&loss.reshape([1]), &tensors[&format!("loss_{step}")]),
                2e-5,
            ));
            comparisons.push(Comparison::new(
                format!("gradient {step}"),
                max_abs_error(&student.grad(), &tensors[&format!("grad_student_{step}")]),
                1e-6,
            ));
            comparisons.push(Comparison::new(
                format!("centre {}", step + 1),
                max_abs_error(&state.center, &tensors[&format!("center_{}", step + 1)]),
                1e-6,
            ));
        }
    }
    Ok(comparisons)
}

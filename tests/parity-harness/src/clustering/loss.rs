//! The TEMI loss, its gradient and the running marginal.

use super::{Case, KINDS, comparison, larger_error, max_abs_error, relative};
use crate::fixture::Comparison;
use anyhow::Context;
use cedm_clustering::temi::{Marginal, linspace, student_loss, targets};
use tch::{Kind, Tensor};

pub(super) fn steps(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let betas = case.config["betas"].as_array().context("config `betas`")?;
    let mut comparisons = Vec::new();
    for (kind, name) in KINDS {
        let double = kind == Kind::Double;
        for beta in betas {
            let beta = beta.as_f64().context("a beta is not a number")?;
            comparisons.extend(steps_in_precision(case, kind, name, beta)?);
        }
        if double {
            let used = case.setting("teacher_temp_used")?;
            comparisons.push(comparison(
                "teacher temperature of the schedule",
                (temperature(case)? - used).abs(),
                1e-15,
            ));
        }
    }
    Ok(comparisons)
}

/// The teacher temperature that the schedule has at the fixture's epoch.
fn temperature(case: &Case) -> anyhow::Result<f64> {
    let (start, end) = (
        case.setting("warmup_teacher_temp")?,
        case.setting("teacher_temp")?,
    );
    let warm = linspace(
        start,
        end,
        case.setting("warmup_teacher_temp_epochs")? as usize,
    );
    Ok(warm
        .get(case.setting("epoch")? as usize)
        .copied()
        .unwrap_or(end))
}

fn steps_in_precision(
    case: &Case,
    kind: Kind,
    name: &str,
    beta: f64,
) -> anyhow::Result<Vec<Comparison>> {
    let mut params = case.params();
    params.beta = beta;
    let heads = case.setting("H")? as i64;
    let temperature = temperature(case)?;
    let mut marginal = Marginal {
        shares: case.tensor("pk_before")?.to_kind(kind),
    };
    let (mut loss, mut head, mut gradient, mut shares, mut weight, mut stored) =
        (0.0f64, 0.0f64, 0.0f64, 0.0f64, 0.0f64, false);
    for step in 0..case.setting("steps")? as i64 {
        let at = format!("beta{}.step{step}", number_text(beta));
        let found = targets(
            &case
                .tensor(&format!("step{step}.teacher_logits"))?
                .to_kind(kind),
            temperature,
            &params,
            &mut marginal,
        );
        let student = case
            .tensor(&format!("step{step}.student_logits"))?
            .to_kind(kind);
        let (losses, d_student) = student_loss(&student, &found, &params, heads);
        let expected = case.tensor(&format!("{at}.head_losses_f64"))?;
        head = larger_error(head, relative(&losses, expected));
        loss = larger_error(
            loss,
            relative(
                &losses.mean(Kind::Double),
                &case
                    .tensor(&format!("{at}.loss_f64"))?
                    .to_kind(Kind::Double),
            ),
        );
        let exact = case.tensors.get(&format!("{at}.grad_student_f64"));
        stored = exact.is_none();
        let expected: &Tensor = match exact {
            Some(exact) => exact,
            None => case.tensor(&format!("{at}.grad_student"))?,
        };
        gradient = larger_error(gradient, relative(&d_student, expected));
        shares = larger_error(
            shares,
            max_abs_error(
                &marginal.shares,
                case.tensor(&format!("step{step}.pk_after"))?,
            ),
        );
        weight = larger_error(
            weight,
            max_abs_error(
                &found.instance_weights(),
                case.tensor(&format!("step{step}.weight"))?,
            ),
        );
    }
    // Logits beyond ±30 after division by the temperature have the looser tolerance of peaked
    // softmaxes.
    let peaked = case
        .tensor("step0.student_logits")?
        .abs()
        .max()
        .double_value(&[])
        > 3.0;
    let (loss_bar, gradient_bar, marginal_bar) = match (kind, peaked) {
        (Kind::Double, _) => (1e-12, if stored { 1e-7 } else { 1e-12 }, 1e-12),
        (_, true) => (5e-6, 5e-6, 2e-7),
        (_, false) => (2e-6, 3e-6, 2e-7),
    };
    // The fixtures have no float32 tolerance for the weights: as a factor of the loss that may
    // reach 1 they get the loss's.
    let weight_bar = if kind == Kind::Double {
        1e-12
    } else {
        loss_bar
    };
    let what = format!("{name} beta {beta}");
    Ok(vec![
        comparison(format!("{what}: loss, rel"), loss, loss_bar),
        comparison(format!("{what}: loss of each head, rel"), head, loss_bar),
        comparison(format!("{what}: gradient, rel"), gradient, gradient_bar),
        comparison(format!("{what}: marginal"), shares, marginal_bar),
        comparison(format!("{what}: instance weight"), weight, weight_bar),
    ])
}

/// As Python writes a float: `1.0`, `0.6`.
fn number_text(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.1}")
    } else {
        value.to_string()
    }
}

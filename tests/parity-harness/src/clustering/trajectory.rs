//! Whole TEMI trainings over given pairs.

use super::{Case, KINDS, comparison, count_differences, larger_error, max_abs_error};
use crate::fixture::Comparison;
use cedm_clustering::temi::{PairBatch, Training, from_upstream, to_upstream};
use cedm_maths::Features;
use std::collections::HashMap;
use tch::{IndexOp, Kind, Tensor};

pub(super) fn training(case: &Case) -> anyhow::Result<Vec<Comparison>> {
    let mut comparisons = Vec::new();
    for (kind, name) in KINDS {
        comparisons.extend(train_in_precision(case, kind, name)?);
    }
    Ok(comparisons)
}

fn train_in_precision(case: &Case, kind: Kind, name: &str) -> anyhow::Result<Vec<Comparison>> {
    let double = kind == Kind::Double;
    let params = case.params();
    let features = Features::new("features", &case.tensor("features")?.to_kind(kind))?;
    let start = from_upstream(&case.below("init.", kind), params.l2_norm)?;
    let (standardisation, heads) = (start.standardisation, start.heads);
    let mut training = Training::with_heads(
        &params,
        0,
        &features,
        case.tensor("knn_idx")?,
        standardisation,
        heads,
    )?;
    let mut comparisons = Vec::new();
    if double {
        let schedules = training.schedules();
        for (what, found) in [
            ("lr", &schedules.lr),
            ("wd", &schedules.weight_decay),
            ("teacher_momentum", &schedules.teacher_momentum),
        ] {
            comparisons.push(comparison(
                format!("schedule {what}"),
                max_abs_error(&Tensor::from_slice(found), case.tensor(what)?),
                1e-15,
            ));
        }
    }
    let (anchors, partners) = (
        case.tensor("anchor_idx")?.to_kind(Kind::Int64),
        case.tensor("neighbour_idx")?.to_kind(Kind::Int64),
    );
    let per_epoch = case.setting("iters_per_epoch")? as i64;
    let (mut losses, mut best, mut after_first) = (Vec::new(), Vec::new(), 0.0);
    for step in 0..case.setting("steps")? as i64 {
        losses.push(training.step_with_pairs(&PairBatch {
            anchors: anchors.i(step),
            partners: partners.i(step),
        })?);
        if (step + 1) % per_epoch == 0 {
            let epoch = (step / per_epoch) as u32;
            best.push(training.close_epoch(epoch)?.best_head as i64);
            if epoch == 0 {
                after_first = max_weight_error(
                    &student_by_upstream_name(&training),
                    &case.below("after_epoch0.student.", Kind::Double),
                )?;
            }
        }
    }
    let (loss_bar, weight_bar, marginal_bar) = if double {
        (1e-11, 1e-10, 1e-11)
    } else {
        (1e-5, 3e-5, 5e-6)
    };
    comparisons.push(comparison(
        format!("{name} loss of each head at each step"),
        max_abs_error(&Tensor::stack(&losses, 0), case.tensor("head_losses_f64")?),
        loss_bar,
    ));
    comparisons.push(comparison(
        format!("{name} best heads that differ"),
        count_differences(&best, &case.integers("best_head_per_epoch")?),
        0.0,
    ));
    comparisons.push(comparison(
        format!("{name} students after epoch 0"),
        after_first,
        weight_bar,
    ));
    let student = max_weight_error(
        &student_by_upstream_name(&training),
        &case.below("final_student.", Kind::Double),
    )?;
    comparisons.push(comparison(
        format!("{name} final students"),
        student,
        weight_bar,
    ));
    let teacher = to_upstream(&training.model()).into_iter().collect();
    comparisons.push(comparison(
        format!("{name} final teachers"),
        max_weight_error(&teacher, &case.below("final_teacher.", Kind::Double))?,
        weight_bar,
    ));
    comparisons.push(comparison(
        format!("{name} final marginal"),
        max_abs_error(training.marginal(), case.tensor("pk_final_f64")?),
        marginal_bar,
    ));
    let logits = training.model().best_logits(features.rows());
    comparisons.push(comparison(
        format!("{name} final logits"),
        max_abs_error(&logits, case.tensor("final_best_logits_f64")?),
        weight_bar,
    ));
    let clear = Vec::<f64>::try_from(case.tensor("assignment_margin")?.to_kind(Kind::Double))?;
    let found = Vec::<i64>::try_from(&training.assign().ids)?;
    let expected = case.integers("final_assignments")?;
    let wrong = found
        .iter()
        .zip(&expected)
        .zip(&clear)
        .filter(|((a, b), margin)| a != b && **margin > 1e-4)
        .count();
    comparisons.push(comparison(
        format!("{name} clear assignments that differ"),
        wrong as f64,
        0.0,
    ));
    Ok(comparisons)
}

fn student_by_upstream_name(training: &Training) -> HashMap<String, Tensor> {
    let mut model = training.model();
    model.heads = training.student().map(Tensor::shallow_clone);
    to_upstream(&model).into_iter().collect()
}

/// Largest deviation over the floating tensors that the fixture names.
fn max_weight_error(
    found: &HashMap<String, Tensor>,
    expected: &HashMap<String, Tensor>,
) -> anyhow::Result<f64> {
    let mut worst = if expected.is_empty() { f64::NAN } else { 0.0 };
    for (name, expected) in expected
        .iter()
        .filter(|(_, tensor)| tensor.kind() == Kind::Double)
    {
        let found = found
            .get(name)
            .ok_or_else(|| anyhow::anyhow!("no tensor `{name}`"))?;
        worst = larger_error(max_abs_error(found, expected), worst);
    }
    Ok(worst)
}

//! What must hold of `[extractor.adapt]` beyond its types.

use super::{Findings, Section};
use crate::SweepSpec;
use cedm_catalogue::extractors::extractor;
use cedm_contract::kinds::adapt::DinoParams;

pub(super) fn resolved(spec: &SweepSpec, findings: &mut Findings) {
    for (index, evaluation) in spec.evaluations.iter().enumerate() {
        findings.check(
            evaluation.extractor.adapt.is_none(),
            format!("evaluation.{index}.extractor.adapt"),
            "a feature space for scores must not depend on the image set: remove `adapt`",
        );
    }
    let (Some(training), Some(known)) = (&spec.extractor.adapt, extractor(&spec.extractor.name))
    else {
        return;
    };
    let path = "extractor.adapt";
    findings.check(
        known.adapts,
        path,
        format!(
            "`{}` cannot be adapted: expected a vision transformer such as `dino_vitb16`, or \
             `vit` for a small one from scratch",
            known.name
        ),
    );
    let foreign = training.vit != Default::default()
        && (known.dim.is_some() || spec.extractor.weights.is_some());
    findings.check(
        !foreign,
        format!("{path}.vit"),
        "the weights determine the size: `vit` is for a network trained from scratch (`name = \
         \"vit\"` without weights)",
    );
    if let Some(obstacle) = training.vit.obstacle() {
        findings.add(format!("{path}.vit"), obstacle);
    }
    numbers(training, Section { path, findings });
}

fn numbers(training: &DinoParams, mut at: Section<'_>) {
    at.at_least("epochs", u64::from(training.epochs), 1);
    at.at_least("batch", u64::from(training.batch), 1);
    let (hidden, bottleneck, out) = training.head;
    let widths = hidden > 0 && bottleneck > 0 && out > 1;
    at.check(
        widths,
        "head",
        format!(
            "`head` is [{hidden}, {bottleneck}, {out}]: expected widths of at least 1, 1 and 2"
        ),
    );
    for (key, (low, high)) in [
        ("global_scale", training.global_scale),
        ("local_scale", training.local_scale),
    ] {
        let fine = 0.0 < low && low <= high && high <= 1.0;
        at.check(
            fine,
            key,
            format!("`{key}` is [{low}, {high}]: expected shares of the image, the smaller first"),
        );
    }
    if training.local_crops > 0 {
        at.at_least("local_size", u64::from(training.local_size), 1);
    }
    at.positive("learning_rate", training.learning_rate);
    at.not_negative("last_learning_rate", training.last_learning_rate);
    at.not_negative(
        "weight_decay",
        training.weight_decay.0.min(training.weight_decay.1),
    );
    at.fraction("teacher_momentum", training.teacher_momentum);
    at.positive("student_temperature", training.student_temperature);
    at.positive(
        "teacher_temperature",
        training
            .teacher_temperature
            .0
            .min(training.teacher_temperature.1),
    );
    at.below_one("center_momentum", training.center_momentum);
    at.positive("clip_grad", training.clip_grad);
}

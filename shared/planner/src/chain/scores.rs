//! Scores: features and moments of every shard, the reference side once, one score per sample set and feature space.

use super::{
    Images, Walk, features,
    networks::{SetPlan, unconditional_set},
};
use crate::{
    Work,
    builder::{Builder, Dep, Draft},
};
use cedm_contract::{
    JobSpec, Kind,
    metrics::{Against, metric},
    params::{MeasureParams, ReferenceParams, ScoreParams},
    sweep::EvaluationSpec,
};

/// The scores of one sample set in every feature space of the sweep.
pub(super) fn scores<'k>(b: &mut Builder<'k>, walk: Walk<'k>, unconditional: bool, samples: Dep<'k>, set: &SetPlan) {
    for evaluation in &b.sweep.spec.evaluations {
        let metrics: Vec<String> = evaluation
            .metrics
            .iter()
            .filter(|name| applies(name, unconditional, set.last))
            .cloned()
            .collect();
        if metrics.is_empty() {
            continue;
        }
        let against = |what: Against| metrics.iter().filter_map(|name| metric(name)).any(|row| row.against == what);
        let reference = training_reference(b, walk, evaluation);
        let shards = measured_samples(b, walk, evaluation, samples, set);
        let other = if against(Against::Unconditional) {
            unconditional_reference(b, walk, evaluation)
        } else {
            None
        };
        let test = if against(Against::TrainingAndTest) {
            test_reference(b, walk, evaluation)
        } else {
            None
        };
        let draft = Draft::new(
            format!("score {} {}", evaluation.name, set.label),
            Kind::Score,
            Work::images(set.images),
        )
        .cell(&set.cell)
        .space(&evaluation.name)
        .reads("reference", reference)
        .shards(shards)
        .maybe("unconditional", other)
        .maybe("test", test);
        b.add(draft, || {
            Ok(JobSpec::Score(ScoreParams {
                extractor: features::spec(&evaluation.extractor)?,
                metrics,
                seed: evaluation.seed,
            }))
        });
    }
}

/// Whether a metric is asked of this sample set: the distance to the unconditional network only of finished conditional ones.
pub(crate) fn applies(name: &str, unconditional: bool, last: bool) -> bool {
    metric(name).is_some_and(|row| row.against != Against::Unconditional || (last && !unconditional))
}

fn measured_samples<'k>(b: &mut Builder<'k>, walk: Walk<'k>, evaluation: &EvaluationSpec, samples: Dep<'k>, set: &SetPlan) -> Vec<Dep<'k>> {
    let size = u64::from(b.sweep.spec.sampling.shard_size.max(1));
    let counts = (0..set.images)
        .step_by(size as usize)
        .map(|first| size.min(set.images - first))
        .collect();
    measured(b, walk, evaluation, (samples, &set.label, counts), Some(set))
}

/// Features and moments of every shard of an image or sample set.
fn measured<'k>(
    b: &mut Builder<'k>,
    walk: Walk<'k>,
    evaluation: &EvaluationSpec,
    (images, of, counts): (Dep<'k>, &str, Vec<u64>),
    set: Option<&SetPlan>,
) -> Vec<Dep<'k>> {
    let fit = features::fit(b, walk.images, &evaluation.extractor);
    let mut shards = Vec::new();
    for (shard, count) in (0u32..).zip(counts) {
        let mut draft = Draft::new(
            format!("measure {} {of}, shard {shard}", features::label(&evaluation.extractor)),
            Kind::Measure,
            Work::images(count),
        )
        .space(&evaluation.name)
        .reads("images", images)
        .maybe("fit", fit);
        if let Some(set) = set {
            draft = draft.cell(&set.cell);
        }
        shards.push(b.add(draft, || {
            Ok(JobSpec::Measure(MeasureParams {
                extractor: features::spec(&evaluation.extractor)?,
                shard,
            }))
        }));
    }
    shards
}

fn training_reference<'k>(b: &mut Builder<'k>, walk: Walk<'k>, evaluation: &EvaluationSpec) -> Dep<'k> {
    image_reference(b, walk, evaluation, walk.images, "training images")
}

fn test_reference<'k>(b: &mut Builder<'k>, walk: Walk<'k>, evaluation: &EvaluationSpec) -> Option<Dep<'k>> {
    walk.test.map(|test| image_reference(b, walk, evaluation, test, "test images"))
}

fn image_reference<'k>(b: &mut Builder<'k>, walk: Walk<'k>, evaluation: &EvaluationSpec, images: Images<'k>, of: &str) -> Dep<'k> {
    let counts = images.set.shards.iter().map(|shard| shard.count).collect();
    let shards = measured(b, walk, evaluation, (images.dep, of, counts), None);
    reference(b, evaluation, of, shards)
}

fn unconditional_reference<'k>(b: &mut Builder<'k>, walk: Walk<'k>, evaluation: &EvaluationSpec) -> Option<Dep<'k>> {
    let (samples, set) = unconditional_set(b, walk)?;
    let shards = measured_samples(b, walk, evaluation, samples, &set);
    Some(reference(b, evaluation, &set.label, shards))
}

fn reference<'k>(b: &mut Builder<'k>, evaluation: &EvaluationSpec, of: &str, shards: Vec<Dep<'k>>) -> Dep<'k> {
    let draft = Draft::new(
        format!("reference {} {of}", features::label(&evaluation.extractor)),
        Kind::Reference,
        Work::one(),
    )
    .space(&evaluation.name);
    b.add(draft.shards(shards), || {
        Ok(JobSpec::Reference(ReferenceParams {
            extractor: features::spec(&evaluation.extractor)?,
        }))
    })
}

//! Scores: features and moments of every shard, the reference side once, one score per sample set
//! and feature space.

use super::{
    Images, PlanContext,
    clusters::NetworkCell,
    features, merge,
    networks::{SetPlan, unconditional_set},
};
use crate::{
    Cell, Purpose, Work,
    builder::{Dependency, NodeDraft, PlanBuilder},
    message,
    obstacles::shape_obstacle,
};
use cedm_catalogue::metrics::{Against, metric};
use cedm_contract::kinds::{
    measure::{MeasureInputs, MeasureParams},
    reference::{ReferenceInputs, ReferenceParams, reference_limit},
    score::{ScoreInputs, ScoreParams},
};
use cedm_sweep::{EvaluationSpec, Method};

/// The scores of one sample set in every feature space of the sweep.
pub(super) fn scores<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    network: &NetworkCell,
    samples: Dependency,
    set: &SetPlan,
) {
    let clusterings = &b.sweep.spec.clusterings;
    let method = clusterings
        .iter()
        .find(|c| c.name == network.cell.clustering)
        .map(|c| &c.method);
    for evaluation in &b.sweep.spec.evaluations {
        let metrics: Vec<String> = evaluation
            .metrics
            .iter()
            .filter(|name| applies(name, method, set))
            .cloned()
            .collect();
        if metrics.is_empty() {
            continue;
        }
        let against = |what: Against| {
            metrics
                .iter()
                .filter_map(|name| metric(name))
                .any(|row| row.against == what)
        };
        let reference = training_reference(b, context, evaluation);
        let shards = measured_samples(b, context, evaluation, samples, set);
        let unconditional = if against(Against::Unconditional) {
            unconditional_reference(b, context, evaluation, network, set)
        } else {
            None
        };
        let test = if against(Against::TrainingAndTest) {
            test_reference(b, context, evaluation)
        } else {
            None
        };
        let condition = network.condition.filter(|_| against(Against::Heads));
        let id = format!("score {} {}", evaluation.name, set.label);
        let params = features::spec(&evaluation.extractor).map(|extractor| ScoreParams {
            extractor,
            metrics,
            seed: evaluation.seed,
        });
        let others = [
            ("reference", true),
            ("unconditional", unconditional.is_some()),
            ("test", test.is_some()),
            ("condition", condition.is_some()),
        ];
        let others = others.into_iter().filter(|(_, is_read)| *is_read);
        let capacity = match &params {
            Ok(params) => {
                let others: Vec<&str> = others.map(|(role, _)| role).collect();
                message::capacity(b, &id, params.clone().into(), "shard", &others)
            }
            // It never gets a key: any cut will do.
            Err(_) => merge::PART,
        };
        let inputs = ScoreInputs {
            reference,
            shards: listed(
                b,
                evaluation,
                (&set.label, Some(&set.cell)),
                shards,
                capacity,
            ),
            unconditional,
            test,
            condition,
        };
        let draft = NodeDraft::new(id, Work::images(set.images))
            .cell(&set.cell)
            .space(&evaluation.name);
        b.add(draft, inputs, || params);
    }
}

/// Whether a metric is asked of this sample set: the distance to the unconditional network and the
/// confidence of the head only of what finished networks are compared by, and only where there is
/// such a head.
fn applies(name: &str, method: Option<&Method>, set: &SetPlan) -> bool {
    let compares = set.last && set.purpose() == Purpose::Evaluation;
    metric(name).is_some_and(|row| match row.against {
        Against::Unconditional => compares && !method.is_some_and(Method::is_unconditional),
        Against::Heads => compares && method.is_some_and(Method::has_heads),
        Against::Nothing | Against::Training | Against::TrainingAndTest | Against::Labels => true,
    })
}

fn measured_samples<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    evaluation: &EvaluationSpec,
    samples: Dependency,
    set: &SetPlan,
) -> Vec<Dependency> {
    let size = u64::from(b.sweep.spec.sampling.shard_size.max(1));
    let counts = (0..set.images)
        .step_by(size as usize)
        .map(|first| size.min(set.images - first))
        .collect();
    measured(
        b,
        context,
        evaluation,
        (samples, &set.label, counts),
        Some(set),
    )
}

/// Features and moments of every shard of an image or sample set.
fn measured<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    evaluation: &EvaluationSpec,
    (images, of, counts): (Dependency, &str, Vec<u64>),
    set: Option<&SetPlan>,
) -> Vec<Dependency> {
    let fit = features::fit(b, context.images, &evaluation.extractor);
    let mut shards = Vec::new();
    for (shard, count) in (0u32..).zip(counts) {
        let mut draft = NodeDraft::new(
            format!(
                "measure {} {of}, shard {shard}",
                features::label(&evaluation.extractor)
            ),
            Work::images(count),
        )
        .space(&evaluation.name);
        if let Some(set) = set {
            draft = draft.cell(&set.cell);
        }
        shards.push(b.add(draft, MeasureInputs { images, fit }, || {
            Ok(MeasureParams {
                extractor: features::spec(&evaluation.extractor)?,
                shard,
            })
        }));
    }
    shards
}

fn training_reference<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    evaluation: &EvaluationSpec,
) -> Dependency {
    image_reference(b, context, evaluation, context.images, "training images")
}

fn test_reference<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    evaluation: &EvaluationSpec,
) -> Option<Dependency> {
    context
        .test
        .map(|test| image_reference(b, context, evaluation, test, "test images"))
}

fn image_reference<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    evaluation: &EvaluationSpec,
    images: Images<'k>,
    of: &str,
) -> Dependency {
    // Every score asks for it: its shards are gone through once.
    if let Some(known) = b.existing(&reference_id(evaluation, of)) {
        return known;
    }
    let counts = images.set.shards.iter().map(|shard| shard.count).collect();
    let shards = measured(
        b,
        context,
        evaluation,
        (images.dependency, of, counts),
        None,
    );
    // Written down only where it cuts something off: the key of a whole reference does not depend
    // on the rule.
    let at_most =
        reference_limit(&evaluation.extractor.name).filter(|limit| *limit < images.set.count);
    let obstacle = shape_obstacle(images.set, context.images.set);
    reference(b, evaluation, of, shards, obstacle.map_or(Ok(at_most), Err))
}

/// The unconditional network's set from the same seeds: against any other one the distance would
/// also hold the difference of the noise (spec §10.3).
fn unconditional_reference<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    evaluation: &EvaluationSpec,
    network: &NetworkCell,
    set: &SetPlan,
) -> Option<Dependency> {
    let same = (network.seed, set.cell.set?);
    // As above, by space, seed and number: the set is not known before it is planned.
    let at = (evaluation.name.clone(), same);
    if let Some(known) = b.unconditional.get(&at) {
        return *known;
    }
    let found = unconditional_set(b, context, same).map(|(samples, set)| {
        let shards = measured_samples(b, context, evaluation, samples, &set);
        reference(b, evaluation, &set.label, shards, Ok(None))
    });
    b.unconditional.insert(at, found);
    found
}

fn reference_id(evaluation: &EvaluationSpec, of: &str) -> String {
    format!("reference {} {of}", features::label(&evaluation.extractor))
}

fn reference<'k>(
    b: &mut PlanBuilder<'k>,
    evaluation: &EvaluationSpec,
    of: &str,
    shards: Vec<Dependency>,
    at_most: Result<Option<u64>, String>,
) -> Dependency {
    let id = reference_id(evaluation, of);
    let params = features::spec(&evaluation.extractor).and_then(|extractor| {
        Ok(ReferenceParams {
            extractor,
            at_most: at_most?,
            partial: false,
        })
    });
    let capacity = match &params {
        Ok(params) => message::capacity(b, &id, params.clone().into(), "shard", &[]),
        // It never gets a key: any cut will do.
        Err(_) => merge::PART,
    };
    let shards = listed(b, evaluation, (of, None), shards, capacity);
    b.add(
        NodeDraft::new(id, Work::one()).space(&evaluation.name),
        ReferenceInputs { shards },
        || params,
    )
}

/// Measured shards in at most `capacity` inputs: themselves, or parts that list them. What a score
/// and a reference read of one sample set are the same parts.
fn listed<'k>(
    b: &mut PlanBuilder<'k>,
    evaluation: &EvaluationSpec,
    (of, cell): (&str, Option<&Cell>),
    shards: Vec<Dependency>,
    capacity: usize,
) -> Vec<Dependency> {
    let id = reference_id(evaluation, of);
    merge::inputs(shards, capacity, |part| {
        let mut draft = NodeDraft::new(format!("{id} {}", part.name), Work::one());
        draft = draft.space(&evaluation.name);
        if let Some(cell) = cell {
            draft = draft.cell(cell);
        }
        let inputs = ReferenceInputs {
            shards: part.inputs,
        };
        b.add(draft, inputs, || {
            Ok(ReferenceParams {
                extractor: features::spec(&evaluation.extractor)?,
                at_most: None,
                partial: true,
            })
        })
    })
}

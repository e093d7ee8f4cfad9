//! Rules of `[sampling]` and `[evaluation]`.

use super::{Findings, Section, check_extractor, unknown};
use crate::{EvaluationSpec, Method, SweepSpec};
use cedm_catalogue::{
    extractors::extractor,
    metrics::{Against, Direction, FoundBy, Needs, metric, score_metric_names},
};
use cedm_contract::kinds::sample::{LabelSource, SamplerParams};
use std::collections::BTreeSet;

pub(super) fn sampling(spec: &SweepSpec, findings: &mut Findings) {
    let sampling = &spec.sampling;
    let mut at = Section {
        path: "sampling",
        findings,
    };
    at.at_least("sets", u64::from(sampling.sets), 1);
    at.at_least("images", sampling.images, 1);
    at.at_least("shard_size", u64::from(sampling.shard_size), 1);
    let (images, fewer) = (sampling.images, sampling.snapshot_images);
    at.check(
        fewer <= images,
        "snapshot_images",
        format!("`snapshot_images` is {fewer}, more than the {images} of a final set"),
    );
    at.check(
        sampling.uniform_sets <= sampling.sets,
        "uniform_sets",
        format!(
            "`uniform_sets` is {}, more than the {} `sets` whose seeds they share",
            sampling.uniform_sets, sampling.sets
        ),
    );
    at.check(
        sampling.uniform_sets == 0 || sampling.sampler.labels == LabelSource::Prior,
        "uniform_sets",
        "`uniform_sets` compares uniform labels with p(c): set `sampler.labels = \"prior\"`",
    );
    check_sampler(
        &sampling.sampler,
        spec.training.network.label_dropout,
        Section {
            path: "sampling.sampler",
            findings,
        },
    );
}

fn check_sampler(sampler: &SamplerParams, label_dropout: f64, mut at: Section<'_>) {
    at.at_least("steps", u64::from(sampler.steps), 2);
    at.positive("sigma_min", sampler.sigma_min);
    at.positive("sigma_max", sampler.sigma_max);
    let (low, high) = (sampler.sigma_min, sampler.sigma_max);
    at.check(
        low < high,
        "sigma_min",
        format!("sigma out of order: `sigma_min` {low} is not below `sigma_max` {high}"),
    );
    at.positive("rho", sampler.rho);
    at.not_negative("s_churn", sampler.s_churn);
    at.not_negative("s_min", sampler.s_min);
    at.positive("s_noise", sampler.s_noise);
    let (low, high) = (sampler.s_min, sampler.s_max);
    at.check(
        low <= high,
        "s_min",
        format!("churn interval out of order: `s_min` {low} is above `s_max` {high}"),
    );
    let guidance = &sampler.guidance;
    at.not_negative("guidance.weight", guidance.weight);
    let (low, high) = (guidance.sigma_lo, guidance.sigma_hi);
    at.check(
        low <= high,
        "guidance.sigma_lo",
        format!("guidance interval out of order: `sigma_lo` {low} is above `sigma_hi` {high}"),
    );
    at.check(
        guidance.weight == 0.0 || label_dropout > 0.0,
        "guidance.weight",
        "guidance needs a network trained with empty labels: set \
         `training.network.label_dropout` above 0",
    );
}

pub(super) fn evaluations(spec: &SweepSpec, findings: &mut Findings) {
    findings.check(
        !spec.evaluations.is_empty(),
        "evaluation",
        "no feature space for scores: expected at least one `[evaluation]` section",
    );
    let mut names = BTreeSet::new();
    for (index, evaluation) in spec.evaluations.iter().enumerate() {
        let path = format!("evaluation.{index}");
        check_extractor(
            &evaluation.extractor,
            &format!("{path}.extractor"),
            findings,
        );
        if !names.insert(&evaluation.name) {
            findings.add(
                format!("{path}.name"),
                format!(
                    "a second feature space is called `{}`: give it another `name`",
                    evaluation.name
                ),
            );
        }
        findings.check(
            !evaluation.metrics.is_empty(),
            format!("{path}.metrics"),
            "an empty list: expected at least one metric, such as [\"fd\"]",
        );
        check_metrics(spec, evaluation, &path, findings);
        check_primary(evaluation, &path, findings);
    }
}

fn check_metrics(
    spec: &SweepSpec,
    evaluation: &EvaluationSpec,
    path: &str,
    findings: &mut Findings,
) {
    let unconditional = spec
        .clusterings
        .iter()
        .any(|clustering| clustering.method == Method::None);
    let logits = extractor(&evaluation.extractor.name)
        .is_none_or(|extractor| extractor.has_logits || extractor.name == "torchscript");
    let mut seen = BTreeSet::new();
    for (index, name) in evaluation.metrics.iter().enumerate() {
        let at = format!("{path}.metrics.{index}");
        let Some(row) = metric(name).filter(|row| row.found_by == FoundBy::Score) else {
            let message = match metric(name) {
                Some(_) => format!("`{name}` is computed for every clustering anyway: remove it"),
                None => unknown("metric", name, &score_metric_names()),
            };
            findings.add(at, message);
            continue;
        };
        findings.check(seen.insert(name), &*at, format!("`{name}` is listed twice"));
        match row.against {
            Against::Unconditional => {
                findings.check(
                    unconditional,
                    &*at,
                    format!(
                        "`{name}` needs an unconditional network: add a clustering with \
                         method \"none\""
                    ),
                );
            }
            Against::TrainingAndTest => {
                findings.check(
                    spec.test_set.is_some(),
                    &*at,
                    format!("`{name}` needs a test split: add `test_set` to [images]"),
                );
            }
            Against::Heads => {
                let temi = spec
                    .clusterings
                    .iter()
                    .any(|clustering| matches!(clustering.method, Method::Temi(_)));
                findings.check(
                    temi,
                    &*at,
                    format!("`{name}` needs a clustering with method \"temi\""),
                );
                findings.check(
                    evaluation.extractor == spec.extractor,
                    &*at,
                    format!(
                        "`{name}` is computed by the TEMI head, which reads the features of [extractor] \
                         (`{}`): list it in an [[evaluation]] with exactly that extractor",
                        spec.extractor.name
                    ),
                );
            }
            Against::Nothing | Against::Training | Against::Labels => {}
        }
        let extractor = &evaluation.extractor.name;
        findings.check(
            row.needs != Needs::Logits || logits,
            &*at,
            format!("`{name}` needs class logits, and `{extractor}` has none"),
        );
        let (images, least) = (spec.sampling.images, row.at_least);
        findings.check(
            images >= least,
            at,
            format!("`{name}` needs at least {least} images, the sets have {images}"),
        );
    }
}

fn check_primary(evaluation: &EvaluationSpec, path: &str, findings: &mut Findings) {
    let primary = &evaluation.primary;
    if primary.is_empty() {
        return;
    }
    let at = format!("{path}.primary");
    if !evaluation.metrics.contains(primary) {
        let listed: Vec<&str> = evaluation.metrics.iter().map(String::as_str).collect();
        findings.add(
            at,
            format!("`{primary}` is not among `metrics` ({})", listed.join(", ")),
        );
    } else if metric(primary).is_some_and(|row| row.direction == Direction::Neither) {
        findings.add(
            at,
            format!("`{primary}` cannot decide: neither lower nor higher values of it are better"),
        );
    }
}

//! The parts of the answer as CSV files, and the definitions of the scores.

use super::{Csv, text};
use crate::{Attachment, facts::Facts};

pub(super) fn comparisons(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&[
        "score",
        "best",
        "best_mean",
        "with",
        "mean",
        "relative",
        "better",
        "sets",
        "images_per_set",
    ]);
    if let Some(answer) = &facts.outcome.answer {
        for other in &answer.comparisons {
            csv.row(&[
                answer.metric.clone(),
                answer.best.clone(),
                answer.score.mean.to_string(),
                other.with.clone(),
                other.other.to_string(),
                other.relative.to_string(),
                other.better.to_string(),
                other.sets.to_string(),
                other.images.to_string(),
            ]);
        }
    }
    csv.named("comparisons.csv")
}

pub(super) fn efficiency(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&[
        "score",
        "network",
        "training_images",
        "crossing_training_images",
        "unconditional_best_training_images",
        "ratio",
        "images_per_snapshot",
    ]);
    if let Some(answer) = &facts.outcome.answer {
        for one in &answer.efficiency {
            csv.row(&[
                answer.metric.clone(),
                one.cell.clone(),
                text(one.nimg),
                text(one.crossing_nimg),
                one.unconditional_nimg.to_string(),
                text(one.ratio),
                one.images.to_string(),
            ]);
        }
    }
    csv.named("efficiency.csv")
}

pub(super) fn agreement(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&[
        "score",
        "best",
        "C",
        "same",
        "within_bound",
        "kendall_tau",
        "networks",
    ]);
    for one in facts
        .outcome
        .answer
        .iter()
        .flat_map(|answer| &answer.agreement)
    {
        csv.row(&[
            one.metric.clone(),
            one.best.clone(),
            one.clusters.to_string(),
            one.same.to_string(),
            text(one.within_bound),
            text(one.tau),
            one.networks.to_string(),
        ]);
    }
    csv.named("agreement.csv")
}

pub(super) fn uniform(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&[
        "network",
        "score",
        "prior",
        "uniform",
        "increase",
        "sets",
        "images_per_set",
    ]);
    for one in facts
        .outcome
        .answer
        .iter()
        .flat_map(|answer| &answer.uniform)
    {
        csv.row(&[
            one.cell.clone(),
            one.metric.clone(),
            one.prior.to_string(),
            one.uniform.to_string(),
            one.increase.to_string(),
            one.sets.to_string(),
            one.images.to_string(),
        ]);
    }
    csv.named("uniform.csv")
}

pub(super) fn metrics(facts: &Facts) -> Attachment {
    let mut csv = Csv::new(&[
        "metric",
        "title",
        "direction",
        "against",
        "definition",
        "unit",
        "sample_counts",
        "defined_in",
    ]);
    let mut seen = Vec::new();
    for metric in facts.measures().into_iter().map(|measure| measure.metric) {
        if !seen.contains(&metric.name) {
            seen.push(metric.name);
            csv.row(&[
                metric.name.to_owned(),
                metric.title.to_owned(),
                metric.direction.words(),
                metric.against.words().to_owned(),
                metric.definition.to_owned(),
                metric.unit.to_owned(),
                metric.samples.to_owned(),
                metric.literature.to_owned(),
            ]);
        }
    }
    csv.named("metrics.csv")
}

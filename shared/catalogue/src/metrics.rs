//! The metric table: every score that a sweep can ask for, with its definition, reference, sample
//! counts and direction.
//!
//! The sweep's validation, the evaluator, the JSON, the report and the docs are all made from these
//! rows (spec §10).

use serde::Serialize;

mod table;

pub use table::METRICS;

/// Name of the one metric that the head of a clustering measures.
pub const CONFIDENCE: &str = "confidence";

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Lower scores are better.
    Lower,
    /// Higher scores are better.
    Higher,
    /// The closer to this value the better.
    Target(f64),
    /// Descriptive: neither lower nor higher is better.
    Neither,
}

impl Direction {
    /// Text for axes and table headers: `lower is better`, `closer to 0.5 is better`, …
    pub fn words(self) -> String {
        match self {
            Direction::Lower => "lower is better".to_owned(),
            Direction::Higher => "higher is better".to_owned(),
            Direction::Target(value) => format!("closer to {value} is better"),
            Direction::Neither => "descriptive".to_owned(),
        }
    }

    /// The arrow beside a name in a table: `↓`, `↑`, `→ 0.5`, or nothing.
    pub fn arrow(self) -> String {
        match self {
            Direction::Lower => "↓".to_owned(),
            Direction::Higher => "↑".to_owned(),
            Direction::Target(value) => format!("→ {value}"),
            Direction::Neither => String::new(),
        }
    }

    /// What the method minimises: the best score of any metric has the smallest objective. `None`
    /// for descriptive metrics.
    pub fn objective(self, score: f64) -> Option<f64> {
        match self {
            Direction::Lower => Some(score),
            Direction::Higher => Some(-score),
            Direction::Target(value) => Some((score - value).abs()),
            Direction::Neither => None,
        }
    }
}

/// What the generated images are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// Nothing: the generated images alone.
    Nothing,
    /// All images of the training set.
    Training,
    /// A sample set of the unconditional model.
    Unconditional,
    /// The training images and the test split.
    TrainingAndTest,
    /// The labels of the training images.
    Labels,
    /// The TEMI head that made the clusters.
    Heads,
}

/// Something that generated images are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The training images, as a merged reference.
    Reference,
    /// A sample set of the unconditional model.
    Unconditional,
    /// The test split of the data set.
    Test,
    /// The TEMI head behind the network's condition.
    Heads,
}

impl Against {
    /// What a score job has to read for it, beside the sample set.
    pub fn sides(self) -> &'static [Side] {
        match self {
            Against::Nothing | Against::Labels => &[],
            Against::Heads => &[Side::Heads],
            Against::Training => &[Side::Reference],
            Against::Unconditional => &[Side::Unconditional],
            Against::TrainingAndTest => &[Side::Reference, Side::Test],
        }
    }

    /// Text for documents and messages.
    pub fn words(self) -> &'static str {
        match self {
            Against::Nothing => "nothing: the generated images alone",
            Against::Training => "the training images",
            Against::Unconditional => "a sample set of the unconditional model",
            Against::TrainingAndTest => "the training images and the test split",
            Against::Labels => "the labels of the training images",
            Against::Heads => "the TEMI head that made the clusters",
        }
    }
}

/// What a metric reads of each image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// The float64 mean and covariance of the features.
    Moments,
    /// The features of every image.
    Features,
    /// The classifier's logits: extractors with a classifier only.
    Logits,
    /// Cluster ids of the training images.
    Clusters,
}

/// Which kind of job computes a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// A score job; sweeps list these metrics.
    Score,
    /// Every clustering job, always.
    Cluster,
}

/// One row of the metric table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metric {
    /// Its name in sweep files, JSON and CSV.
    pub name: &'static str,
    /// Title for reports and tables.
    pub title: &'static str,
    /// Short title for an axis or a table head.
    pub short: &'static str,
    /// Definition with every constant.
    pub definition: &'static str,
    /// What the generated images are compared with.
    pub against: Against,
    /// What a metric reads of each image.
    pub needs: Needs,
    /// Which kind of job computes a metric.
    pub found_by: FoundBy,
    /// Sample counts used in the literature, and the effect of other counts.
    pub samples: &'static str,
    /// Least number of images on either side; with fewer the score is missing.
    pub at_least: u64,
    /// Which way is better.
    pub direction: Direction,
    /// Unit of the score.
    pub unit: &'static str,
    /// What the standard deviation is taken over, where the metric has one.
    pub spread: Option<&'static str>,
    /// The publication that defines it.
    pub literature: &'static str,
}

impl Metric {
    /// The title in a feature space: the Fréchet distance is called FID over Inception and FDD over
    /// DINOv2 ViT-L/14.
    pub fn title_in(&self, extractor: &str) -> String {
        match (self.name, extractor) {
            ("fd", "inception_fid") => "FID".to_owned(),
            ("fd", "dinov2_vitl14") => "FDD".to_owned(),
            ("ufd", "inception_fid") => "uFID".to_owned(),
            ("ufd", "dinov2_vitl14") => "uFDD".to_owned(),
            ("fd_infinity", "inception_fid") => "FID∞".to_owned(),
            ("fd_infinity", "dinov2_vitl14") => "FDD∞".to_owned(),
            _ => format!("{} ({extractor})", self.short),
        }
    }
}

/// The row with this name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// Names that a sweep may list, in the order of the table.
pub fn score_metric_names() -> Vec<&'static str> {
    METRICS
        .iter()
        .filter(|metric| metric.found_by == FoundBy::Score)
        .map(|metric| metric.name)
        .collect()
}

/// The table as Markdown, for the docs.
pub fn markdown() -> String {
    let mut text = String::from(
        "| name | title | direction | against | definition | sample counts | defined in \
         |\n|---|---|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        text += &format!(
            "| `{}` | {} | {} | {} | {} | {} | {} |\n",
            metric.name,
            metric.title,
            metric.direction.words(),
            metric.against.words(),
            metric.definition,
            metric.samples,
            metric.literature,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_usable_as_keys() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for name in names {
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
                "{name}"
            );
            assert_eq!(metric(name).map(|metric| metric.name), Some(name));
        }
        assert_eq!(metric("fid"), None);
    }

    #[test]
    fn every_row_is_complete() {
        for metric in METRICS {
            for text in [
                metric.title,
                metric.short,
                metric.definition,
                metric.samples,
                metric.unit,
                metric.literature,
            ] {
                assert!(
                    !text.is_empty() && !text.contains('|') && !text.contains('\n'),
                    "{}: {text}",
                    metric.name
                );
            }
            assert!(metric.at_least >= 1, "{}", metric.name);
        }
        assert_eq!(markdown().lines().count(), METRICS.len() + 2);
    }

    #[test]
    fn objective_orders_by_direction() {
        assert!(Direction::Lower.objective(1.0) < Direction::Lower.objective(2.0));
        assert!(Direction::Higher.objective(2.0) < Direction::Higher.objective(1.0));
        assert!(Direction::Target(0.5).objective(0.45) < Direction::Target(0.5).objective(0.6));
        assert_eq!(Direction::Neither.objective(1.0), None);
    }

    #[test]
    fn published_names_are_used_in_their_feature_space() {
        let fd = metric("fd").unwrap();
        assert_eq!(fd.title_in("inception_fid"), "FID");
        assert_eq!(fd.title_in("dinov2_vitl14"), "FDD");
        assert_eq!(fd.title_in("pca"), "FD (pca)");
    }
}

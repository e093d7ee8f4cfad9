//! How well features tell labels apart: k-nearest-neighbour accuracy as DINO measures it, and a
//! linear probe. Its token is `judge`.

use super::JobKind;
use crate::{Service, inputs::inputs};
use serde::{Deserialize, Serialize};

/// How the neighbours vote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureEvaluationParams {
    /// Number of nearest rows that vote on a label.
    pub k: u32,
    /// Temperature of their votes, exp(cosine / temperature).
    pub temperature: f64,
}

impl Default for FeatureEvaluationParams {
    fn default() -> Self {
        Self {
            k: 20,
            temperature: 0.07,
        }
    }
}

impl JobKind for FeatureEvaluationParams {
    const SERVICE: Service = Service::Extractor;
    const VERSION: u32 = 1;
    type Inputs<T> = FeatureEvaluationInputs<T>;
    type Result = FeatureEvaluationResult;
}

inputs! {
    /// What an evaluation of features reads.
    pub struct FeatureEvaluationInputs<T> {
        /// The features of all images (Features).
        pub features: T as "features",
        /// The labelled image set that they were extracted from (Import).
        pub images: T as "images",
    }
}

/// How well features tell labels apart, as fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureEvaluationResult {
    /// Rows with a label; the others are left out.
    pub count: u64,
    /// Width D of a feature row.
    pub dim: u32,
    /// Number of distinct labels.
    pub classes: u32,
    /// Rows whose label their k nearest other rows vote for.
    pub knn_accuracy: f64,
    /// Held-out rows (every fifth) that a linear classifier of the others gets right.
    pub probe_accuracy: f64,
}

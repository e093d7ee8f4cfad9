//! How features are judged where labels exist.

use serde::{Deserialize, Serialize};

/// k-nearest-neighbour accuracy as DINO measures it, and a linear probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureEvaluationParams {
    /// Neighbours that vote.
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

//! The identity of a feature space: scores mean something only within one.

use crate::EvaluatorError;
use cedm_contract::{Digest, ExtractorSpec, Precision};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What made features: extractor, digests of its files, arithmetic. Written as `space.json` beside
/// features and statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSpace {
    /// Name of the extractor.
    pub extractor: String,
    /// Digest of its weights, or of what it learnt from the image set.
    pub weights: Option<Digest>,
    /// Arithmetic of its forward pass.
    pub precision: Precision,
}

impl FeatureSpace {
    /// The space of an extractor with the digest of its fit, if it has one.
    pub fn of(spec: &ExtractorSpec, fit: Option<Digest>) -> Self {
        let weights = spec.weights.as_ref().map(|weights| weights.digest.clone());
        Self {
            extractor: spec.name.clone(),
            weights: fit.or(weights),
            precision: spec.precision,
        }
    }

    /// The feature space as JSON, the content of `space.json`.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("invariant: plain data always encodes")
    }

    /// That `what` lies in this space, which is the one of `other`.
    ///
    /// # Errors
    /// [`EvaluatorError::OtherSpace`].
    pub fn require(&self, other: &str, space: &Self, what: &str) -> Result<(), EvaluatorError> {
        if self == space {
            return Ok(());
        }
        let (found, expected) = (space.to_string(), self.to_string());
        Err(EvaluatorError::OtherSpace {
            what: what.to_owned(),
            found,
            other: other.to_owned(),
            expected,
        })
    }
}

impl fmt::Display for FeatureSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.extractor)?;
        if let Some(weights) = &self.weights {
            write!(f, " with weights {}", weights.short())?;
        }
        if self.precision != Precision::Fp32 {
            write!(f, " in {}", format!("{:?}", self.precision).to_lowercase())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_digests_are_compared() {
        let space = |name: &str, weights: Option<&[u8]>| FeatureSpace {
            extractor: name.to_owned(),
            weights: weights.map(Digest::of),
            precision: Precision::Fp32,
        };
        let inception = space("inception_fid", Some(b"a"));
        assert!(
            inception
                .require("reference", &inception.clone(), "samples")
                .is_ok()
        );
        let error = inception
            .require("reference", &space("dinov2_vitl14", Some(b"a")), "samples")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("samples was measured by dinov2_vitl14")
                && error.contains("reference by inception_fid"),
            "{error}"
        );
        let error = inception
            .require("reference", &space("inception_fid", Some(b"b")), "samples")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(Digest::of(b"a").short()) && error.contains(Digest::of(b"b").short()),
            "{error}"
        );
    }
}

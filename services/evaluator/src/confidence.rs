//! Confidence of the TEMI head behind a network's condition in each generated image (spec §11).

use crate::{EvaluatorError, MeasuredSet};
use cedm_clustering::temi::{Model, from_upstream};
use cedm_maths::{
    MathsError,
    confidence::{Confidence, confidence},
};
use cedm_torch::tensor_files;
use std::path::Path;

/// The temperature of the softmax, the one that heads are trained at by default (spec §4.2, §11).
const TEMPERATURE: f64 = 0.1;

/// Reads `heads.safetensors` of a clustering; `l2_norm` says whether the head was trained on rows
/// of unit length.
///
/// # Errors
/// [`EvaluatorError::File`] if it is not a TEMI state dict.
pub fn read_heads(file: &Path, l2_norm: bool) -> Result<Model, EvaluatorError> {
    from_upstream(&tensor_files::read(file)?, l2_norm)
        .map_err(|error| EvaluatorError::file(file, error.to_string()))
}

/// Confidence of every image of `set`, whose features must be of the extractor that the head was
/// trained on.
///
/// # Errors
/// If only moments of the set are known, or the head takes features of another width.
pub fn confidences(heads: &Model, set: &MeasuredSet) -> Result<Confidence, EvaluatorError> {
    let features = set.features()?;
    let expected = heads.standardisation.mean.size()[0];
    if features.width() != expected {
        return Err(MathsError::Width {
            what: set.name.clone(),
            found: features.width(),
            other: "the TEMI head".to_owned(),
            expected,
        }
        .into());
    }
    let rows = features
        .rows()
        .to_device(heads.standardisation.mean.device());
    Ok(confidence(&heads.best_logits(&rows), TEMPERATURE))
}

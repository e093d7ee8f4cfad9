//! How sure the TEMI head of a network is of each generated image (spec §11).

use crate::{EvaluatorError, MeasuredSet, measure::read_tensors};
use cedm_clustering::temi::{Model, from_upstream};
use cedm_maths::{
    MathsError,
    confidence::{Confidence, confidence},
};
use std::path::Path;

/// The temperature that the heads were trained at.
const TEMPERATURE: f64 = 0.1;

/// Reads `heads.safetensors`; `l2_norm` is whether the head was trained on unit rows.
///
/// # Errors
/// [`EvaluatorError::File`] for anything that is no TEMI state dict.
pub fn read_heads(file: &Path, l2_norm: bool) -> Result<Model, EvaluatorError> {
    from_upstream(&read_tensors(file)?.into_iter().collect(), l2_norm)
        .map_err(|error| EvaluatorError::file(file, error.to_string()))
}

/// Confidence of every image of `set`, whose features must be those that the head was trained on.
///
/// # Errors
/// When only moments of the set are known, or the head reads features of another width.
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
